"""Actions that restore a copy of the databases beside them, for trial (T-B10, C-BAK-04): nothing else moves."""

from __future__ import annotations

from datetime import UTC, datetime

from qhs.drill.actions import Actions, Call, Evidence, UnmetError
from qhs.drill.ground import Ground
from qhs.drill.restored import RESTORE, Restored
from qhs.errors import UserError

RESTORING: Actions[Ground] = Actions()
POINT = "choose-point"


def point(text: str) -> str:
    """A time as machines and units write it. Raises UserError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise UserError(
            f"found the point {text!r}; wanted a time with its offset from UTC", "--at 2026-11-30T13:00:00+07:00"
        )
    return found.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@RESTORING.action(POINT, of_site=True)
def choose_point(ground: Ground, call: Call) -> Evidence:
    """Copies at the store whose turn it is can give back the point: the one that is asked for, or one at random."""
    site = ground.site(call)
    writing = [name for name, one in ground.databases(site).items() if one.writable]
    if len(writing) != 1:
        raise UnmetError(f"found {', '.join(writing) or 'no database'} at {site} that takes writes; wanted one")
    (machine,) = writing
    said = ground.told([machine], "point")[machine]
    if said["wrong"]:
        raise UnmetError(f"found no point to restore at {machine}: {said['wrong']}; wanted a copy and its log")
    at = ground.at or said["at"]
    if not said["earliest"] <= at <= said["latest"]:
        raise UserError(
            f"found the point {at}; wanted one from {said['earliest']} to {said['latest']}, which copies at "
            f"{said['store']} can give back",
            "a later one, or none: then it is chosen at random",
        )
    found = f"{at}, of {said['earliest']} to {said['latest']} at {said['store']}"
    return Evidence.of(found, machine=machine, random=not ground.at, **(said | {"at": at}))


@RESTORING.action(RESTORE, changes=True, of_site=True)
def restore(ground: Ground, call: Call) -> Evidence:
    """A copy is restored beside the databases, to the point that was chosen, compared, and taken away again."""
    chosen = ground.found(POINT)
    machine, at = str(chosen["machine"]), str(chosen["at"])
    said = ground.told([machine], "restore", at, str(chosen["now"]))[machine]
    if not said["ended"]:
        raise UnmetError(f"found the restore at {machine} under way; wanted it over")
    if said["faults"]:
        raise UserError(
            f"found the copy of {at} not as it should be: {'; '.join(said['faults'])}; wanted all of it",
            f"`ssh {machine} sudo journalctl -u qhs-database-restore@{at}.service`",
        )
    took = said["seconds"]
    measured = Restored(restored_seconds=round(took["fetch"] + took["replay"], 3), short_seconds=said["short"])
    found = f"{said['bytes'] >> 20} MiB from {said['store']} in {measured.restored_seconds} s, up to {said['reached']}"
    return Evidence.of(found, machine=machine, **said, **dict(measured))


@RESTORING.action("restored-agrees")
def restored_agrees(ground: Ground, call: Call) -> Evidence:
    """What has not changed since the point is in what was restored, to the row, and nothing of after it."""
    found = ground.found(RESTORE)["contents"]
    if not found["tables"] or not found["same"] or not found["marks"]:
        raise UserError(f"found nothing to compare: {found}; wanted tables, and marks of the time", "`qhs drill plan`")
    told = f"{found['rows']} rows in {found['tables']} tables of {found['databases']} databases"
    return Evidence.of(f"{told}, {found['marks']} marks; {found['changed']} tables have changed since", **found)


@RESTORING.action("nothing-left", of_site=True)
def nothing_left(ground: Ground, call: Call) -> Evidence:
    """No restore runs at the databases of a site, and nothing of one lies there."""
    left = ground.nothing_left(ground.site(call), "left", "nothing left")
    return Evidence.of(f"nothing is left at {', '.join(left)}", left=left)


@RESTORING.action("stop-restore", changes=True, of_site=True)
def stop_restore(ground: Ground, call: Call) -> Evidence:
    """Restores at the databases of a site end, and what they have there is taken away."""
    ground.told(ground.machines(ground.site(call)), "stop")
    return nothing_left(ground, call)
