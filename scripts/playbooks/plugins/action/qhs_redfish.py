"""Speaks to the power controller of a machine that hardware.yaml names, from the operator's machine."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from qhs import power
from qhs.errors import UserError, explained
from qhs.metal import hardware, media

WITHIN = 3600.0
"""Seconds for an installation: a controller may hand on its medium at the pace of an old line."""


class ActionModule(ActionBase):
    """`wanted`: `known` (nothing), `inserted`, `on`, `ended` (it switched itself off), `ejected`. Answers with `on`."""

    _VALID_ARGS = frozenset({"wanted"})
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The machine itself is not asked."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        name, wanted = variables["inventory_hostname"], self._task.args["wanted"]
        act = predict if self._task.check_mode else bring
        try:
            rack = hardware.load()
            return result | act(rack.machine(name), f"{rack.media}/{name}.iso", wanted)
        except UserError as error:
            raise AnsibleActionFail(str(error)) from error
        except OSError as error:  # the password's file
            raise AnsibleActionFail(str(explained(error))) from error


def predict(machine: hardware.Hardware, medium: str, wanted: str) -> dict[str, Any]:
    """What `bring` would change; past `inserted`, of a machine that the steps before have changed."""
    service, system = machine.service, machine.system
    changed = media.holds(service, system) != medium if wanted == "inserted" else wanted != "known"
    return {"changed": changed, "on": power.is_on(service, system)}


def bring(machine: hardware.Hardware, medium: str, wanted: str) -> dict[str, Any]:
    """Have it so, and return once it is."""
    service, system = machine.service, machine.system
    match wanted:
        case "inserted":
            changed = media.insert(service, system, medium)
        case "on":
            changed = power.force(service, system, on=True)
        case "ended":
            changed = power.ended(service, system, WITHIN)
        case "ejected":
            changed = media.eject(service, system)
        case _:
            changed = False
    return {"changed": changed, "on": power.is_on(service, system)}
