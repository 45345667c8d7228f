"""Actions that ask the estate, and change nothing of it."""

from __future__ import annotations

from qhs import active_names, trust_access
from qhs.drill.actions import Actions, Call, Evidence, UnmetError
from qhs.drill.ground import Database, Ground
from stacks.approvals import Approval, ApprovalError
from stacks.model import service_names
from stacks.model.data import SERVICE, may_lack_seconds

ASKING: Actions[Ground] = Actions()
ENOUGH = 2
"""Vantage points from which writes must be impossible (T-B05)."""
PROMOTE = "promote"


def promotion(ground: Ground) -> str:
    """What an approval names that lets a promotion be without evidence."""
    return f"{ground.new}-instead-of-{ground.old}"


@ASKING.action("both-sites-answer")
def both_sites_answer(ground: Ground, call: Call) -> Evidence:
    """Both sites answer at the third one and to a client outside, and so does every database of both."""
    seen = ground.seen([ground.old, ground.new])
    databases = ground.databases(ground.old, ground.new)
    silent = [f"{site} from {point}" for point, sites in seen.items() for site, answers in sites.items() if not answers]
    silent += [f"{name}: {one.wrong}" for name, one in databases.items() if one.wrong]
    if silent:
        raise UnmetError(f"found no answer of {'; '.join(silent)}; wanted one of each")
    found = f"{ground.old} and {ground.new} answer from {', '.join(seen)}; {len(databases)} databases answer"
    return Evidence.of(found, seen=seen, databases=databases)


@ASKING.action("one-primary")
def one_primary(ground: Ground, call: Call) -> Evidence:
    """Exactly one site takes writes: the one with the lease, and it has exactly one such database."""
    report = ground.lease()
    databases = ground.databases(ground.old, ground.new)
    power = ground.powered(ground.old) | ground.powered(ground.new)
    unknown = [f"{name}: {one.wrong}" for name, one in databases.items() if one.wrong and power[name]]
    writing = [name for name, one in databases.items() if one.writable]
    at = {name: site for site in (ground.old, ground.new) for name in ground.machines(site)}
    if unknown or len(writing) != 1 or not report.agreed or report.active != at[writing[0]]:
        raise UnmetError(
            f"found {', '.join(writing) or 'no database'} that takes writes, the lease with "
            f"{report.active or 'nobody'}, no word of {'; '.join(unknown) or 'none'}; wanted one, at its site"
        )
    found = f"{writing[0]} takes writes, and {report.active} has the lease"
    return Evidence.of(found, primary=report.active, writable=writing[0], power=power, databases=databases)


@ASKING.action("replica-streams", of_site=True)
def replica_streams(ground: Ground, call: Call) -> Evidence:
    """The databases of a site are copies that stream."""
    site, databases = ground.site(call), ground.databases(ground.site(call))
    _streaming(site, databases)
    return Evidence.of(f"{', '.join(databases)} stream", databases=databases)


@ASKING.action("lag-within", of_site=True, limit="seconds")
def lag_within(ground: Ground, call: Call) -> Evidence:
    """The copy at a site is no older than its limit, nor than what any tier may lose."""
    site = ground.site(call)
    most = min(call.limit or 0, may_lack_seconds(ground.estate))
    target = _position(ground, ground.other(site))
    ages = {name: one.age if one.position < target else 0.0 for name, one in _good(ground, site).items()}
    if unknown := [name for name, age in ages.items() if age is None]:
        raise UnmetError(f"found {', '.join(unknown)} behind, and no change taken over; wanted {most:.0f} s at most")
    age = max(one or 0.0 for one in ages.values())
    if age > most:
        raise UnmetError(f"found the copy at {site} {age:.1f} s old; wanted {most:.0f} s at most")
    return Evidence.of(f"the copy at {site} is {age:.1f} s old", age=age, most=most, position=target)


@ASKING.action("clocks-agree", limit="seconds")
def clocks_agree(ground: Ground, call: Call) -> Evidence:
    """The clocks of databases and of the lease's members are no further from this one's than the limit."""
    clocks = ground.clocks()
    apart = {name: off for name, off in clocks.items() if off > (call.limit or 0)}
    if apart:
        told = ", ".join(f"{name} by {off:.2f} s" for name, off in apart.items())
        raise UnmetError(f"found clocks apart: {told}; wanted {call.limit} s at most")
    return Evidence.of(f"{len(clocks)} clocks agree", off=clocks)


@ASKING.action("room", of_site=True, limit="MiB")
def room(ground: Ground, call: Call) -> Evidence:
    """The disks of the databases of a site have at least so much room."""
    free = {name: one.free_mib for name, one in _good(ground, ground.site(call)).items()}
    if small := {name: mib for name, mib in free.items() if mib < (call.limit or 0)}:
        told = ", ".join(f"{mib} MiB at {name}" for name, mib in small.items())
        raise UnmetError(f"found room for {told}; wanted {call.limit:.0f} MiB at least")
    return Evidence.of(", ".join(f"{name}: {mib} MiB" for name, mib in free.items()), free_mib=free)


@ASKING.action("await-gone", of_site=True, part="loses")
def await_gone(ground: Ground, call: Call) -> Evidence:
    """Neither the third site nor a client outside is answered by a site any more."""
    site = ground.site(call)
    seen = _witnessed(ground, site)
    if any(seen.values()) or len(seen) < ENOUGH:
        still = ", ".join(point for point, answers in seen.items() if answers)
        raise UnmetError(
            f"found {site} answering from {still or 'nowhere'}, as {', '.join(seen) or 'nobody'} can tell; wanted no "
            f"answer at {ENOUGH} points that reach {ground.other(site)}"
        )
    return Evidence.of(f"{site} answers neither from {' nor from '.join(seen)}", seen=seen)


@ASKING.action("may-promote", part="decides")
def may_promote(ground: Ground, call: Call) -> Evidence:
    """Writes to the old site are impossible from two vantage points, or its lease has run out, or several approve."""
    gone = _witnessed(ground, ground.old)
    impossible = [point for point, answers in gone.items() if not answers]
    report = ground.lease(without=ground.old)
    ran_out = report.agreed and report.active != ground.old
    approval = None
    if len(impossible) < ENOUGH and not ran_out:
        approval = _approved(ground)
    if len(impossible) < ENOUGH and not ran_out and approval is None:
        raise UnmetError(
            f"found the old site {ground.old} unreachable from {', '.join(impossible) or 'nowhere'} and the lease with "
            f"{report.active or 'nobody known'}; wanted {ENOUGH} vantage points, or a lease that has run out, or "
            f"`qhs approve new {PROMOTE} {promotion(ground)}` with its signatures"
        )
    why = [f"unreachable from {', '.join(impossible)}"] if impossible else []
    why += ["its lease has run out"] if ran_out else []
    why += ["approved"] if approval else []
    return Evidence.of(
        f"nothing can be written at {ground.old}: {'; '.join(why)}",
        impossible_from=impossible,
        lease=report.active,
        agreed=report.agreed,
        approval=approval,
    )


@ASKING.action("await-active", of_site=True)
def await_active(ground: Ground, call: Call) -> Evidence:
    """A site has the lease, and most members say so."""
    site = ground.site(call)
    report = ground.lease(without=ground.other(site))
    if not report.agreed or report.active != site:
        raise UnmetError(f"found the lease with {report.active or 'nobody'}; wanted {site} to have it")
    found = f"{site} has the lease since {report.since}"
    return Evidence.of(found, active=report.active, chosen=report.chosen, since=report.since)


@ASKING.action("await-writable", of_site=True)
def await_writable(ground: Ground, call: Call) -> Evidence:
    """Exactly one database of a site takes writes."""
    site, databases = ground.site(call), ground.databases(ground.site(call))
    writing = [name for name, one in databases.items() if one.writable and one.role == "primary"]
    if len(writing) != 1:
        raise UnmetError(f"found {', '.join(writing) or 'no database'} at {site} that takes writes; wanted one")
    return Evidence.of(f"{writing[0]} takes writes", databases=databases)


@ASKING.action("await-copy", of_site=True)
def await_copy(ground: Ground, call: Call) -> Evidence:
    """The databases of a site are copies that have all that the other one had written when it was asked."""
    site = ground.site(call)
    target = _position(ground, ground.other(site))
    databases = _good(ground, site)
    _streaming(site, databases)
    if behind := {name: target - one.position for name, one in databases.items() if one.position < target}:
        told = ", ".join(f"{name} by {missing} bytes" for name, missing in behind.items())
        raise UnmetError(f"found copies behind: {told}; wanted them to have all")
    return Evidence.of(f"{', '.join(databases)} have all up to {target}", position=target, databases=databases)


@ASKING.action("await-names", of_site=True)
def await_names(ground: Ground, call: Call) -> Evidence:
    """The name of the databases leads to a site, by the resolvers of that site and of the third one."""
    site, name = ground.site(call), service_names.name(ground.estate, SERVICE)
    wanted = service_names.leads(ground.estate, SERVICE)[site].texts()[0]
    answers = active_names.where(ground.twin, ground.estate, name)
    if wrong := [one for one in (site, ground.third) if answers[one] != wanted]:
        told = ", ".join(f"{answers[one] or 'no address'} at {one}" for one in wrong)
        raise UnmetError(f"found {name} leading to {told}; wanted {wanted}, of {site}")
    return Evidence.of(f"{name} leads to {wanted} at {site} and {ground.third}", answers=answers)


@ASKING.action("contents-agree", at_rest=True)
def contents_agree(ground: Ground, call: Call) -> Evidence:
    """Every table of every database has the same rows at both sites."""
    first = [ground.machines(site)[0] for site in (ground.old, ground.new)]
    here, there = ground.told(first, "contents").values()
    if differ := sorted(table for table in here.keys() | there.keys() if here.get(table) != there.get(table)):
        raise UnmetError(f"found {len(differ)} tables that differ: {', '.join(differ[:5])}; wanted none")
    if not here:
        raise UnmetError("found no table at either site; wanted those of the applications")
    return Evidence.of(f"{len(here)} tables are the same at {' and '.join(first)}", tables=here)


def _witnessed(ground: Ground, site: str) -> dict[str, bool]:
    """By vantage point whether a site answers; one that the other site does not answer either is cut off itself."""
    other = ground.other(site)
    return {point: sites[site] for point, sites in ground.seen([site, other]).items() if sites[other]}


def _approved(ground: Ground) -> Approval | None:
    try:
        return trust_access.approvers(ground.twin, ground.estate).require(PROMOTE, promotion(ground))
    except ApprovalError:
        return None


def _good(ground: Ground, site: str) -> dict[str, Database]:
    databases = ground.databases(site)
    if silent := [f"{name}: {one.wrong}" for name, one in databases.items() if one.wrong]:
        raise UnmetError(f"found no answer of {'; '.join(silent)}; wanted one of each")
    return databases


def _position(ground: Ground, site: str) -> int:
    """What whoever takes writes at a site has written."""
    found = [one.position for one in ground.databases(site).values() if one.writable]
    if len(found) != 1:
        raise UnmetError(f"found {len(found)} databases at {site} that take writes; wanted one")
    return found[0]


def _streaming(site: str, databases: dict[str, Database]) -> None:
    leads = [name for name, one in databases.items() if one.role == "standby_leader"]
    still = [name for name, one in databases.items() if one.wrong or not one.streams or one.writable]
    if len(leads) != 1 or still:
        raise UnmetError(
            f"found {', '.join(leads) or 'nobody'} leading the copies at {site}, and {', '.join(still) or 'none'} that "
            "does not stream; wanted one, and all to stream"
        )
