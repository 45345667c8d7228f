"""Actions that have a site's copy of the databases serve in a bubble, with its applications (T-B01); nothing moves."""

from __future__ import annotations

from typing import Any

from qhs.drill.actions import Actions, Call, Evidence, UnmetError
from qhs.drill.ground import Ground
from qhs.errors import UserError
from stacks.model import bubble

BUBBLING: Actions[Ground] = Actions()
RAISE = "raise-bubble"
ROUNDS = 3
"""Of all its applications, after which it is shown that nothing got out."""


@BUBBLING.action("no-bubble", of_site=True)
def no_bubble(ground: Ground, call: Call) -> Evidence:
    """No bubble is at the databases of a site, and nothing of one lies there."""
    left = ground.nothing_left(ground.site(call), "bubble-left", "nothing of a bubble")
    return Evidence.of(f"nothing of a bubble is at {', '.join(left)}", left=left)


@BUBBLING.action(RAISE, changes=True, of_site=True)
def raise_bubble(ground: Ground, call: Call) -> Evidence:
    """Networks apart from everything are made beside a copy; the machine is shown to count what would leave them."""
    machine = _chosen(ground, ground.site(call))
    state = _state(ground, machine, "bubble-begin")
    if not (made := state["made"]):
        raise UnmetError(f"found the networks at {machine} not made yet; wanted them")
    if not made["counted"]:
        raise UserError(f"found {machine} counting nothing of what left the bubble; wanted it counted", _look(machine))
    found = f"{len(made['segments'])} segments at {machine}; one packet let out was counted, then counting began anew"
    return Evidence.of(found, machine=machine, began=state["began"], **made)


@BUBBLING.action("serve-copy")
def serve_copy(ground: Ground, call: Call) -> Evidence:
    """A copy of the databases takes writes in the bubble, and has all that those it is of had, to the row."""
    machine, state = _standing(ground)
    copied, served = state["copied"], state["served"]
    if not served:
        raise UnmetError(f"found the copy at {machine} not serving yet, with {copied}; wanted it")
    contents = copied["contents"]
    if not contents["tables"] or not contents["same"] or not contents["marks"]:
        raise UserError(f"found nothing to compare: {contents}; wanted tables, and marks of the time", _look(machine))
    age = max(0.0, round(copied["at"] - copied["reached"], 3))
    found = (
        f"{copied['bytes'] >> 20} MiB serve {served['seconds']} s after it began; the last change in them was {age} s "
        f"old; {contents['rows']} rows in {contents['tables']} tables compared"
    )
    return Evidence.of(found, machine=machine, **copied, served_seconds=served["seconds"], age=age)


@BUBBLING.action("tenants-work", of_site=True)
def tenants_work(ground: Ground, call: Call) -> Evidence:
    """Each application of the first tier reads and writes in the bubble, and reaches nobody else there or outside."""
    machine, state = _standing(ground)
    wanted, found = bubble.tenants(ground.estate, ground.site(call)), state["tenants"]
    done = {name: bubble.Own(_whole(said["databases"]), _whole(said["buckets"])) for name, said in found.items()}
    if lacking := sorted(name for name, own in wanted.items() if done.get(name) != own):
        raise UnmetError(f"found {', '.join(lacking)} without what is theirs at {machine}; wanted it read and written")
    tries = {name: sorted(said["tries"]) for name, said in found.items()}
    if untried := sorted(name for name in wanted if not tries[name]):
        raise UserError(f"found {', '.join(untried)} trying nobody; wanted production tried", _look(machine))
    told = f"{len(wanted)} applications read and write; none of {sum(map(len, tries.values()))} tries was answered"
    return Evidence.of(told, done=done, tries=tries, copied=state["objects"])


@BUBBLING.action("bubble-isolated")
def bubble_isolated(ground: Ground, call: Call) -> Evidence:
    """No packet has come from the bubble to the machine, by its own counter, while applications tried and tried."""
    machine, state = _standing(ground)
    if state["rounds"] < ROUNDS or not state["refused"]:
        raise UnmetError(
            f"found {state['rounds']} rounds of tries at {machine} and {state['refused']} packets kept back; wanted "
            f"{ROUNDS} and some"
        )
    counted = ground.told([machine], "bubble-counted")[machine]
    if counted:
        raise UserError(f"found {counted} packets from the bubble at {machine}; wanted none", _look(machine))
    found = f"0 packets came from the bubble to {machine}; {state['refused']} were kept back in it"
    return Evidence.of(found, counted=counted, refused=state["refused"], rounds=state["rounds"])


@BUBBLING.action("take-bubble-away", changes=True, of_site=True)
def take_bubble_away(ground: Ground, call: Call) -> Evidence:
    """Bubbles at the databases of a site end, and what they have there is taken away."""
    ground.told(ground.machines(ground.site(call)), "bubble-end")
    return no_bubble(ground, call)


def _whole(found: dict[str, dict[str, Any]]) -> list[str]:
    """What is read and written."""
    return [name for name, one in found.items() if not one["said"]]


def _chosen(ground: Ground, site: str) -> str:
    """Where one is kept already; else who follows, and nobody follows from it if that may be."""
    kept = [name for name, one in ground.told(ground.machines(site), "bubble").items() if one["kept"]]
    there = ground.databases(site)
    follow = [name for name, one in there.items() if not one.wrong and not one.writable]
    found = kept or sorted(follow, key=lambda name: (there[name].role == "standby_leader", name))
    if not found:
        raise UnmetError(f"found no database at {site} that follows; wanted one")
    return found[0]


def _standing(ground: Ground) -> tuple[str, dict[str, Any]]:
    """The machine of this drill's bubble, and what that says."""
    raised = ground.found(RAISE)
    machine = str(raised["machine"])
    state = _state(ground, machine, "bubble")
    if state["began"] != raised["began"]:
        raise UserError(f"found another bubble at {machine} than this drill's; wanted that", _look(machine))
    return machine, state


def _state(ground: Ground, machine: str, verb: str) -> dict[str, Any]:
    """Raises UserError where it is not kept any more or has faults, UnmetError where it says nothing yet."""
    told = ground.told([machine], verb)[machine]
    if not told["kept"]:
        raise UserError(f"found no bubble kept at {machine}; wanted it kept", _look(machine))
    state: dict[str, Any] | None = told["state"]
    if state is None:
        raise UnmetError(f"found the bubble at {machine} beginning; wanted it made")
    if state["faults"]:
        raise UserError(
            f"found the bubble at {machine} not as it should be: {'; '.join(state['faults'])}; wanted all of it",
            _look(machine),
        )
    return state


def _look(machine: str) -> str:
    return f"`ssh {machine} sudo journalctl -u qhs-bubble`"
