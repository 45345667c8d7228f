"""Making stacks, and taking them over from a run that was killed."""

import json
import socket
from dataclasses import replace
from pathlib import Path

import yaml

from qhs import whole
from qhs.engine.environment import Engine
from qhs.engine.run import run_pulumi
from qhs.folders import CLONE
from qhs.progress import Progress


def ensure_stack(engine: Engine, stack: str, project: Path = CLONE, on_line: Progress | None = None) -> None:
    """Make the stack, and its settings, unless they are there. Raises EngineError.

    The settings hold what the state folder's passphrase encrypts, so they lie in the state folder too. A lock whose
    holder died on this machine is taken away. A stack whose state has a home of its own is there, or is lost.
    """
    if stack in engine.homes:
        return
    for lock in (engine.folder / locks(stack, project)).glob("*.json"):
        _release(lock, on_line)
    own = engine.settings(stack)
    if _deployed(_checkpoint(engine, stack, project)):
        if not own.exists():
            run_pulumi(engine, ["config", "refresh", "--force"], stack=stack, cwd=project, on_line=on_line)
        return
    forget(engine, stack, project)
    make_stack(engine, stack, project=project, on_line=on_line)


def make_stack(
    engine: Engine, stack: str, *options: str, project: Path = CLONE, on_line: Progress | None = None
) -> None:
    """Make a stack that is not there, and its settings. Raises EngineError."""
    own = engine.settings(stack)
    own.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    own.unlink(missing_ok=True)
    # The engine writes a new stack's settings beside the project file: this one stands in for it.
    _put(own.parent / "Pulumi.yaml", f"name: {_name(project)}\nruntime: python\n")
    run_pulumi(engine, ["stack", "init", *options], stack=stack, cwd=own.parent, on_line=on_line)


def forget(engine: Engine, stack: str, project: Path = CLONE) -> None:
    """Have no state of a stack in the state folder, and no settings for one."""
    replace(engine, homes={}).settings(stack).unlink(missing_ok=True)
    _checkpoint(engine, stack, project).unlink(missing_ok=True)


def _checkpoint(engine: Engine, stack: str, project: Path) -> Path:
    """The state of a stack in the state folder."""
    return engine.folder / ".pulumi" / "stacks" / _name(project) / f"{stack}.json"


def _name(project: Path) -> str:
    return str(yaml.safe_load((project / "Pulumi.yaml").read_text())["name"])


def _put(file: Path, text: str) -> None:
    """Write a file unless it is there, in one piece: stacks are made side by side, and each engine reads it."""
    if file.exists() and file.read_text() == text:
        return
    whole.write(file, text)


def configure(engine: Engine, stack: str, key: str, value: str) -> None:
    """Set a plain value of a stack's configuration where it differs. Raises EngineError."""
    settings = yaml.safe_load(engine.settings(stack).read_text()) or {}
    if settings.get("config", {}).get(key) != value:
        run_pulumi(engine, ["config", "set", key, value], stack=stack)


def _deployed(checkpoint: Path) -> bool:
    """Whether there is something to keep: a stack that was made and never applied can be made again."""
    return checkpoint.exists() and json.loads(checkpoint.read_text())["checkpoint"].get("latest") is not None


def locks(stack: str, project: Path = CLONE) -> str:
    """Below which path a backend of the engine has the locks of a stack."""
    return f".pulumi/locks/organization/{_name(project)}/{stack}"


def _release(lock: Path, on_line: Progress | None) -> None:
    if not (holder := abandoned(lock.read_bytes())):
        return
    if on_line:
        on_line(f"taking over from pid {holder}, which ended without releasing {lock.parent.name}")
    lock.unlink(missing_ok=True)


def abandoned(lock: bytes) -> int | None:
    """The process of this machine that left a lock behind; None: its holder lives, or is elsewhere."""
    holder = json.loads(lock)
    here = holder["hostname"] == socket.gethostname()
    return int(holder["pid"]) if here and not _lives(holder["pid"]) else None


def _lives(pid: int) -> bool:
    """Whether that process is an engine. One that ended but was not waited for has no program any more."""
    try:
        return Path(f"/proc/{pid}/exe").readlink().name.startswith("pulumi")
    except FileNotFoundError:
        return False
    except PermissionError:
        return True
