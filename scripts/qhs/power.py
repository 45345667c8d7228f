"""Power and media of machines over Redfish: the same calls for a twin's machines and for those of `prod`.

Callers stand where the service can be reached: in the twin, inside its namespace (`qhs.twin.inside.call`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qhs.errors import UserError

if TYPE_CHECKING:
    from sushy.resources.system.system import System

_CONNECT_WITHIN = 5.0
_ANSWER_WITHIN = 60.0
_ASK_EVERY = 0.1
_ASK_PATIENTLY = 2.0
"""Of what takes minutes: a real controller is a slow one."""


@dataclass(frozen=True)
class Service:
    """A Redfish service. The password is read from its file at each use; `certificate` is the one that is trusted."""

    url: str
    user: str
    password: Path
    certificate: Path


def is_on(service: Service, system: str) -> bool:
    """Whether the machine `system` has power. Raises UserError where the service does not say."""
    with told(service, system):
        return _state(system_of(service, system)) != "Off"


def force(service: Service, system: str, on: bool, within: float = 30.0) -> bool:
    """Switch the power of `system` and return once the service says that it is so; whether anything changed.

    This is what fencing rests on: without an exception, a machine switched off runs nothing any more. Raises
    UserError where the service cannot be reached, refuses, or has not done it within `within` seconds.
    """
    from sushy import ResetType  # noqa: PLC0415 - see system_of

    wanted = "On" if on else "Off"
    with told(service, system):
        found = system_of(service, system)
        if _state(found) == wanted:
            return False
        found.reset_system(ResetType.ON if on else ResetType.FORCE_OFF)
        _await(service, found, wanted, within, _ASK_EVERY)
    return True


def ended(service: Service, system: str, within: float) -> bool:
    """Return once `system` has switched itself off; whether it had power before. UserError if it still has it then."""
    with told(service, system):
        found = system_of(service, system)
        if _state(found) == "Off":
            return False
        _await(service, found, "Off", within, _ASK_PATIENTLY)
    return True


def _await(service: Service, found: System, wanted: str, within: float, every: float) -> None:
    deadline = time.monotonic() + within
    while (now := _state(found)) != wanted:
        if time.monotonic() > deadline:
            what = f"{found.identity} is {now}, not {wanted}, after {within:.0f} s ({service.url})"
            raise UserError(what, "look at the machine and its console, and cut its power by hand")
        time.sleep(every)
        found.refresh(force=True)


@contextmanager
def told(service: Service, system: str) -> Iterator[None]:
    """Turn the client's errors into one for people."""
    from sushy.exceptions import SushyError  # noqa: PLC0415 - see system_of

    try:
        yield
    except SushyError as error:
        raise UserError(f"{service.url}: power of {system}: {error}", "in the twin `qhs up`; else its log") from None


def system_of(service: Service, name: str) -> System:
    """The machine `name` as the service shows it."""
    # Imported here: it takes a third of the time that `qhs` needs to start, and most commands switch nothing.
    import sushy  # noqa: PLC0415
    from sushy.auth import BasicAuth  # noqa: PLC0415

    # It warns of each try; what is wrong is said once, by the error.
    logging.getLogger("sushy").setLevel(logging.ERROR)
    root = sushy.Sushy(
        service.url,
        auth=BasicAuth(service.user, service.password.read_text().strip()),
        verify=str(service.certificate),
        server_side_retries=1,  # it takes 0 for three, two seconds apart
        connect_timeout=_CONNECT_WITHIN,
        read_timeout=_ANSWER_WITHIN,
    )
    return root.get_system(f"/redfish/v1/Systems/{name}")


def _state(system: System) -> str:
    """On, Off, or what is between them; a controller that is busy may say nothing for a while."""
    return system.power_state.value if system.power_state else "unknown"
