"""Making stacks, and taking them over from a run that was killed."""

import json
import os
import socket
from pathlib import Path

import yaml

from qhs.engine.environment import Engine
from qhs.engine.run import run_pulumi
from qhs.folders import CLONE
from qhs.progress import Progress


def ensure_stack(engine: Engine, stack: str, project: Path = CLONE, on_line: Progress | None = None) -> None:
    """Make the stack, and its settings file, unless they are there. Raises EngineError.

    The settings file holds what the state folder's passphrase encrypts, so one that is left from another state folder
    is made anew. A lock whose holder died on this machine is taken away.
    """
    name, config = _project(project)
    settings = config / f"Pulumi.{stack}.yaml"
    locks = engine.state / "pulumi" / ".pulumi" / "locks" / "organization" / name / stack
    for lock in locks.glob("*.json"):
        _release(lock, on_line)
    if (engine.state / "pulumi" / ".pulumi" / "stacks" / name / f"{stack}.json").exists():
        if not settings.exists():
            run_pulumi(engine, ["config", "refresh", "--force"], stack=stack, cwd=project, on_line=on_line)
        return
    settings.unlink(missing_ok=True)
    config.mkdir(parents=True, exist_ok=True)
    run_pulumi(engine, ["stack", "init", stack], cwd=project, on_line=on_line)


def _project(project: Path) -> tuple[str, Path]:
    facts = yaml.safe_load((project / "Pulumi.yaml").read_text())
    return facts["name"], project / facts.get("stackConfigDir", ".")


def _release(lock: Path, on_line: Progress | None) -> None:
    holder = json.loads(lock.read_text())
    if holder["hostname"] != socket.gethostname() or _lives(holder["pid"]):
        return
    if on_line:
        on_line(f"taking over from pid {holder['pid']}, which ended without releasing {lock.parent.name}")
    lock.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
