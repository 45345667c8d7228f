"""What every run of the engine gets from its surroundings."""

import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from qhs.engine.host import with_language_host
from qhs.folders import CLONE
from qhs.progress import Progress, silent
from qhs.tools import Tool, ensure, installed

POLICY_PACK = CLONE / "policies" / "pack"
PLUGIN = "kubernetes-plugin"
HOME = "pulumi-home"
"""Below the state folder: what the engine keeps for itself, and finds its plugins in."""


@dataclass(frozen=True)
class Home:
    """Where the state of a stack is, if not in the state folder."""

    name: str
    reached: Sequence[str]
    """The start of a command line that runs the rest of it where the state can be read and written."""


@dataclass(frozen=True)
class Engine:
    """The engine's program, the folder of its state, and the environment for both."""

    program: Path
    state: Path
    environ: Mapping[str, str]
    homes: Mapping[str, Home] = field(default_factory=dict)
    """Of the stacks whose states have left the state folder."""

    @property
    def folder(self) -> Path:
        """Where it keeps the states of stacks that have no home of their own."""
        return self.state / "pulumi"

    def settings(self, stack: str) -> Path:
        """The settings file of a stack: never in the tree, since it belongs to this state."""
        home = self.homes.get(stack)
        return self.state / "settings" / (home.name if home else "") / f"Pulumi.{stack}.yaml"


def prepare(state: Path, progress: Progress = silent, policy_pack: Path | None = POLICY_PACK) -> Engine:
    """An engine that keeps everything it writes in `state` (made 0700), with the policy pack on every preview and up.

    Builds the engine if need be. The language host of ours goes with an engine of ours: an installed one has its own.
    """
    there = ensure(["engine", PLUGIN], progress)
    tool = there["engine"]
    home = tool.programs["pulumi"].parent if tool.how == "path" else with_language_host(tool, progress)
    # The Python of this project comes before any other: an installed engine looks for it on PATH.
    folders = [home, Path(sys.executable).parent]
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    (state / "settings").mkdir(exist_ok=True, mode=0o700)
    _plugin(state / HOME, there[PLUGIN])
    environ = _inherited() | {
        "PATH": os.pathsep.join([*map(str, folders), installed.foreign_path()]),
        "PULUMI_HOME": str(state / HOME),
        # A file of metadata beside each state is not written in one piece: an engine killed at it left an empty one, by
        # which no other could read the state.
        "PULUMI_BACKEND_URL": f"file://{state / 'pulumi'}?metadata=skip",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(_passphrase(state)),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        # A cluster of the caller's own is none of ours: who reaches one of ours is given it (`qhs.cluster`).
        "KUBECONFIG": os.devnull,
        # What somebody changed by hand there is put right, not left alone as another's; no object goes for a change.
        "PULUMI_K8S_ENABLE_PATCH_FORCE": "true",
        "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE": "true",
    }
    if policy_pack:
        environ["PULUMI_OPTION_POLICY_PACK"] = str(policy_pack)
    engine = Engine(home / "pulumi", state, environ)
    engine.folder.mkdir(exist_ok=True, mode=0o700)
    return engine


def _plugin(home: Path, tool: Tool) -> None:
    """Have the engine find a plugin of ours, of this version and no other: it fetches none."""
    (program,) = tool.programs.values()
    folder = home / "plugins" / f"{program.name.removeprefix('pulumi-')}-v{tool.version}"
    folder.mkdir(parents=True, exist_ok=True)
    link, new = folder / program.name, folder / f".{os.getpid()}"
    if not link.is_symlink() or link.readlink() != program:
        new.symlink_to(program)
        new.replace(link)


def _inherited() -> dict[str, str]:
    """The caller's environment without its own settings of the engine, which would win or contradict."""
    return {name: text for name, text in os.environ.items() if not name.startswith("PULUMI_")}


def _passphrase(state: Path) -> Path:
    """The file whose content encrypts the secrets of the stacks in `state`: random, made once, whole or not at all."""
    file = state / "passphrase"
    if not file.exists():
        new = state / f".passphrase-{os.getpid()}"
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as opened:
            opened.write(secrets.token_urlsafe(32))
            opened.flush()
            os.fsync(opened.fileno())
        try:
            os.link(new, file)  # the first of two at once wins
        except FileExistsError:
            pass
        finally:
            new.unlink()
    return file
