"""`qhs shell`: inside the twin, with everything set so that plain commands work."""

from __future__ import annotations

import os

from qhs import ansible, trust_access
from qhs.console import progress
from qhs.engine import Engine, prepare
from qhs.environments import Environment
from qhs.errors import UserError
from qhs.folders import CLONE
from qhs.twin import access, inside
from qhs.twin.names import Twin
from stacks.model import load

SSH = "/usr/bin/ssh"


def enter(command: list[str]) -> None:
    """Become a shell (or `command`) in the twin's namespace, in the clone. Raises UserError where no twin is up."""
    twin = Twin.here()
    if not twin.netns_path().exists():
        raise UserError(f"twin {twin.name} is not up: there is no {twin.netns_path()}", "qhs up")
    engine = prepare(twin.state, progress)
    trust_access.write(twin, load(Environment.TWIN))  # it lets one in for some hours
    environ = {**ansible.variables(twin), **engine.environ, **_own(twin, engine.environ["PATH"])}
    _project_settings(engine)
    argv = inside.command(twin, command or [os.environ.get("SHELL", "/bin/bash")])
    os.chdir(CLONE)
    os.execvpe(argv[0], argv, environ)  # noqa: S606 - the shell replaces us, so that signals and its exit code pass


def _own(twin: Twin, path: str) -> dict[str, str]:
    """What only a person's shell needs: ssh by machine name, the inventory, and a prompt that says where one is."""
    folder = twin.state / "bin"
    folder.mkdir(exist_ok=True)
    wrapper = folder / "ssh"
    wrapper.write_text(f'#!/bin/sh\nexec {SSH} -F {access.config(twin)} "$@"\n')
    wrapper.chmod(0o700)
    inventory = str(CLONE / "inventories" / "twin" / "hosts.py")
    return {"PATH": f"{folder}:{path}", "ANSIBLE_INVENTORY": inventory, "PS1": f"({twin.name}) \\w\\$ "}


def _project_settings(engine: Engine) -> None:
    """A plain `pulumi -s STACK` looks for settings in the tree: it gets copies of the state's own."""
    folder = CLONE / "stacks" / "config"
    folder.mkdir(exist_ok=True)
    for own in engine.state.glob("settings/Pulumi.*.yaml"):
        (folder / own.name).write_text(own.read_text())
