"""The drive of a machine's power controller, over Redfish: a medium by its address, and the next start from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from qhs.errors import UserError
from qhs.power import Service, system_of, told

if TYPE_CHECKING:
    from sushy.resources.manager.virtual_media import VirtualMedia
    from sushy.resources.system.system import System


def holds(service: Service, system: str) -> str | None:
    """The address of the medium in the drive; None: it is empty. Raises UserError, as all of these do."""
    with told(service, system):
        drive = _drive(service, system_of(service, system))
        return str(drive.image) if drive.inserted else None


def insert(service: Service, system: str, address: str) -> bool:
    """Have the drive hold the medium at `address`, and the next start of the machine be from it; whether it changed."""
    from sushy import BootSource, BootSourceOverrideEnabled  # noqa: PLC0415 - see system_of

    with told(service, system):
        found = system_of(service, system)
        drive = _drive(service, found)
        held = str(drive.image) if drive.inserted else None
        if held not in (None, address):
            raise UserError(f"{service.url}: the drive of {system} holds {held}; wanted none", "eject it")
        if held is None:
            drive.insert_media(address)
        boot = found.boot
        if (boot.target, boot.enabled) == (BootSource.CD, BootSourceOverrideEnabled.ONCE):
            return held is None
        found.set_system_boot_options(BootSource.CD, BootSourceOverrideEnabled.ONCE)
    return True


def eject(service: Service, system: str) -> bool:
    """Have the drive be empty; whether it changed."""
    with told(service, system):
        drive = _drive(service, system_of(service, system))
        if drive.inserted:
            drive.eject_media()
            return True
    return False


def _drive(service: Service, system: System) -> VirtualMedia:
    from sushy import VIRTUAL_MEDIA_CD, VIRTUAL_MEDIA_DVD  # noqa: PLC0415 - see system_of

    for drive in _drives(system):
        if {VIRTUAL_MEDIA_CD, VIRTUAL_MEDIA_DVD} & set(drive.media_types):
            return drive
    raise UserError(f"{service.url}: {system.identity} has no drive for a CD over Redfish", "its medium by hand")


def _drives(system: System) -> Iterator[VirtualMedia]:
    """Newer controllers have them below the system, older ones below their own manager."""
    from sushy.exceptions import MissingAttributeError  # noqa: PLC0415 - see system_of

    try:
        yield from system.virtual_media.get_members()
    except MissingAttributeError:
        for manager in system.managers:
            yield from manager.virtual_media.get_members()
