"""Databases under a load of writes while the other centre comes and goes, and machines with databases die in turn."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from qhs.drill.ground import Ground
from qhs.twin import inside, outage
from qhs.twin.names import Twin
from tests.twin.conftest import WatchedUp
from tests.twin.databases import (
    ESTATE,
    MEMBERS,
    OTHER,
    SITE,
    WRITTEN,
    connect,
    cut_off,
    database,
    first_copy,
    leader,
    told,
    where,
    writing,
)
from tests.twin.hosts import Hosts
from tests.twin.waiting import await_

SECONDS = 300
HALF = 2
"""Seconds for which the other centre is away, and for which it is there: more than ten times a minute."""
WRITERS = 16
WARM = 10
"""Seconds of writes before anything happens."""
AWAY = 20
"""Seconds for which a machine has no power."""
COPIES = 180
"""Seconds until both centres have all data again."""


def test_under_a_flapping_link_and_dying_machines_no_row_is_lost_and_never_two_take_writes(
    hosts: Hosts, twin: Twin, second_up: WatchedUp, figures: dict[str, float]
) -> None:
    ground = Ground(ESTATE, twin, SITE, OTHER)
    with database(hosts, SITE) as password:
        inside.call(where(twin, SITE), lambda: connect(twin, SITE, password).execute(WRITTEN))
        with ExitStack() as stack:
            own = [stack.enter_context(writing(twin, SITE, password)) for _ in range(WRITERS)]
            other = stack.enter_context(writing(twin, OTHER, password))
            time.sleep(WARM)
            warm = sum(map(len, own)) / WARM
            flaps = stack.enter_context(again_and_again(lambda: flap(twin)))
            primaries: list[int] = []
            stack.enter_context(again_and_again(lambda: primaries.append(writable(ground))))
            died = 0
            end = time.monotonic() + SECONDS
            for name in itertools.cycle(one for site in (SITE, OTHER) for one in MEMBERS[site]):
                if time.monotonic() > end:
                    break
                outage.power_off(twin, name)
                time.sleep(AWAY)
                outage.power_on(twin, name)
                died += 1
                await_(lambda: all(one and time.monotonic() - one[-1] < 2 for one in own), COPIES)
        await_(lambda: first_copy(hosts, OTHER, SITE) != "", COPIES)
        (said,) = told(hosts, [leader(hosts, SITE)], "select number from written", "probe").values()
        lost = set[int]().union(*(one.numbers for one in own)) - {int(one) for one in said.split()}
    figures |= {
        "writes a second, undisturbed": round(warm),
        "writes": sum(map(len, own)),
        "link cut and healed": len(flaps),
        "machines that died": died,
        "rows lost": len(lost),
        "most that took writes at once": max(primaries),
        "times somebody looked": len(primaries),
        "writes taken at the other centre": len(other),
    }


def flap(twin: Twin) -> None:
    """The other centre is away, and back."""
    with cut_off(twin, OTHER):
        time.sleep(HALF)
    time.sleep(HALF)


def writable(ground: Ground) -> int:
    """How many databases take writes, of all that answer."""
    return sum(one.writable for one in ground.databases(SITE, OTHER).values())


@contextmanager
def again_and_again(what: Callable[[], None]) -> Iterator[list[float]]:
    """In the background; when each was over. What is raised by it is raised here."""
    over, times, raised = threading.Event(), [], []

    def loop() -> None:
        try:
            while not over.is_set():
                what()
                times.append(time.monotonic())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield times
    finally:
        over.set()
        thread.join()
    if raised:
        raise raised[0]
