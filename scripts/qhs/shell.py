"""`qhs shell`: inside the twin, with everything set so that plain commands work."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from qhs import ansible, trust_access, whole
from qhs.console import progress
from qhs.engine import Engine
from qhs.environments import Environment
from qhs.errors import UserError
from qhs.folders import CLONE
from qhs.state import homes
from qhs.twin import access, inside
from qhs.twin.names import Twin
from stacks.model import load

SSH = "/usr/bin/ssh"


def enter(command: list[str]) -> None:
    """Become a shell (or `command`) in the twin's namespace, in the clone. Raises UserError where no twin is up."""
    twin = Twin.here()
    if not twin.netns_path().exists():
        raise UserError(f"twin {twin.name} is not up: there is no {twin.netns_path()}", "qhs up")
    engine = homes.engine(twin, progress)
    trust_access.write(twin, load(Environment.TWIN))  # it lets one in for some hours
    environ = {**ansible.variables(twin), **engine.environ, **_own(twin, engine)}
    _project_settings(engine)
    argv = inside.command(twin, command or [os.environ.get("SHELL", "/bin/bash")])
    os.chdir(CLONE)
    os.execvpe(argv[0], argv, environ)  # noqa: S606 - the shell replaces us, so that signals and its exit code pass


def _own(twin: Twin, engine: Engine) -> dict[str, str]:
    """What only a person's shell needs: ssh by machine, pulumi by a stack's home, kubectl, the inventory, a prompt."""
    folder = twin.state / "bin"
    folder.mkdir(exist_ok=True)
    _program(folder / "ssh", [SSH, "-F", str(access.config(twin))])
    _program(folder / "pulumi", [sys.executable, "-m", "qhs.state.pulumi", str(engine.program)])
    _program(folder / "kubectl", [sys.executable, "-m", "qhs.kubectl"])
    inventory = str(CLONE / "inventories" / "twin" / "hosts.py")
    path = f"{folder}:{engine.environ['PATH']}"
    return {"PATH": path, "ANSIBLE_INVENTORY": inventory, "PS1": f"({twin.name}) \\w\\$ "}


def _program(path: Path, command: list[str]) -> None:
    whole.write(path, f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', 0o700)


def _project_settings(engine: Engine) -> None:
    """A plain `pulumi -s STACK` looks for settings in the tree: it gets copies of the state's own."""
    folder = CLONE / "stacks" / "config"
    folder.mkdir(exist_ok=True)
    stacks = {
        own.name.removeprefix("Pulumi.").removesuffix(".yaml") for own in engine.state.glob("settings/Pulumi.*.yaml")
    }
    for stack in stacks | engine.homes.keys():
        own = engine.settings(stack)
        (folder / own.name).write_text(own.read_text())
