"""Actions that change something: power, and which site is to take writes. Each twice is as good as once."""

from __future__ import annotations

from qhs.drill.actions import Actions, Call, Evidence, UnmetError
from qhs.drill.ground import Ground
from qhs.errors import UserError
from qhs.lease.choose import Verb, choose
from qhs.twin import outage

MOVING: Actions[Ground] = Actions()


@MOVING.action("power-off", changes=True, of_site=True, part="loses")
def power_off(ground: Ground, call: Call) -> Evidence:
    """All machines of a site lose their power."""
    site = ground.site(call)
    changed = outage.power_off(ground.twin, site)
    return Evidence.of(
        f"{site}: {len(changed)} machines lost their power", changed=changed, powered=ground.powered(site)
    )


@MOVING.action("power-on", changes=True, of_site=True)
def power_on(ground: Ground, call: Call) -> Evidence:
    """All machines of a site have power, and answer."""
    site = ground.site(call)
    changed = outage.power_on(ground.twin, site)
    return Evidence.of(
        f"{site}: {len(changed)} machines have power again", changed=changed, powered=ground.powered(site)
    )


@MOVING.action("fence", changes=True, of_site=True, part="fences")
def fence(ground: Ground, call: Call) -> Evidence:
    """The databases of a site have no power, by what switches it."""
    site = ground.site(call)
    changed, powered = ground.fence(site), ground.powered(site)
    if on := [name for name, has in powered.items() if has]:
        raise UnmetError(f"found {', '.join(on)} with power; wanted none of the databases of {site} to have any")
    return Evidence.of(f"{', '.join(powered)} have no power", changed=changed, powered=powered)


@MOVING.action("choose", changes=True, of_site=True, part="promotes")
def choose_(ground: Ground, call: Call) -> Evidence:
    """A site is to take writes instead of the other: which gives them up, or is shown to take none (T-B05)."""
    site = ground.site(call)
    other = ground.other(site)
    if not ground.shown("may-promote"):
        silent = [f"{name}: {one.wrong}" for name, one in ground.databases(other).items() if one.wrong]
        if silent:
            raise UserError(
                f"promotion of {site} refused: found {'; '.join(silent)}; wanted every database of {other} to answer "
                "and give writes up, or evidence that none can be written there",
                "a plan with the step `may-promote` before it; `qhs drill failover`",
            )
    return _chosen(ground, site)


@MOVING.action("choose-again", changes=True, of_site=True)
def choose_again(ground: Ground, call: Call) -> Evidence:
    """The site from before is to take writes again, unless the other one has had the lease and may have taken some."""
    return _chosen(ground, ground.site(call), "take-back")


def _chosen(ground: Ground, site: str, verb: Verb = "choose") -> Evidence:
    """Have it chosen, where it is not yet."""
    other = ground.other(site)
    if ground.lease(without=other).chosen != site:
        choose(ground.twin, ground.estate, site, instead_of=other, verb=verb)
    report = ground.lease(without=other)
    if not report.agreed or report.chosen != site:
        raise UnmetError(f"found {report.chosen or 'nobody'} chosen; wanted {site}")
    return Evidence.of(f"{site} is chosen", chosen=report.chosen, active=report.active)
