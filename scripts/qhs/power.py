"""Power of machines over Redfish: the same calls for a twin's machines and for those of `prod`.

Callers stand where the service can be reached: in the twin, inside its namespace (`qhs.twin.inside.call`).
"""

import time
from dataclasses import dataclass
from pathlib import Path

import sushy
from sushy import auth, exceptions
from sushy.resources.system.system import System

from qhs.errors import UserError

_CONNECT_WITHIN = 5.0
_ANSWER_WITHIN = 60.0
_ASK_EVERY = 0.1


@dataclass(frozen=True)
class Service:
    """A Redfish service. The password is read from its file at each use; `certificate` is the one that is trusted."""

    url: str
    user: str
    password: Path
    certificate: Path


def is_on(service: Service, system: str) -> bool:
    """Whether the machine `system` has power. Raises UserError where the service does not say."""
    return _powered(_system(service, system))


def force(service: Service, system: str, on: bool, within: float = 30.0) -> bool:
    """Switch the power of `system` and return once the service says that it is so; whether anything changed.

    This is what fencing rests on: without an exception, a machine switched off runs nothing any more. Raises
    UserError where the service cannot be reached, refuses, or has not done it within `within` seconds.
    """
    found = _system(service, system)
    if _powered(found) == on:
        return False
    try:
        found.reset_system(sushy.ResetType.ON if on else sushy.ResetType.FORCE_OFF)
        deadline = time.monotonic() + within
        while _powered(found) != on:
            if time.monotonic() > deadline:
                wanted = "on" if on else "off"
                raise UserError(f"{system} is not {wanted} after {within:.0f} s ({service.url})", "look at the machine")
            time.sleep(_ASK_EVERY)
            found.refresh(force=True)
    except exceptions.SushyError as error:
        raise UserError(f"{service.url} did not switch {system}: {error}", "look at its log") from None
    return True


def _system(service: Service, name: str) -> System:
    basic = auth.BasicAuth(service.user, service.password.read_text().strip())
    try:
        root = sushy.Sushy(
            service.url,
            auth=basic,
            verify=str(service.certificate),
            server_side_retries=0,
            connect_timeout=_CONNECT_WITHIN,
            read_timeout=_ANSWER_WITHIN,
        )
        return root.get_system(f"/redfish/v1/Systems/{name}")
    except exceptions.SushyError as error:
        raise UserError(f"{service.url} does not tell of {name}: {error}", "in the twin: `qhs up`") from None


def _powered(system: System) -> bool:
    return bool(system.power_state != sushy.PowerState.OFF)
