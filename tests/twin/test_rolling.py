"""T-A12: a pair that serves is changed one member after the other, and one that fails keeps the other from harm."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from qhs import ansible
from qhs.errors import UserError
from qhs.progress import silent
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import load
from tests.pace import Pace
from tests.twin.conftest import MEASURED, WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.streams import in_machine

pytestmark = pytest.mark.live

ESTATE = load("twin")
FIRST, SECOND = PAIR = ESTATE.firewalls("ndc")
CLIENT, SERVER = "ndc-app1", "ndc-db1"
DATABASE = next(one for one in ESTATE.machines[SERVER].services if one.service == "ballot-db")
ADDRESS = (DATABASE.targets[0].texts()[0], 5432)
HERTZ, AT_MOST = 20, 1  # seconds without an answer
# Both are acted on: one is read again, the other program is started anew.
FILES = "/etc/keepalived/keepalived.conf /etc/conntrackd/conntrackd.conf"
DRIFT = f"for file in {FILES}; do echo '# drift' >>$file; done"
DRIFTED = f"grep -l '# drift' {FILES} | wc -l"


@contextmanager
def polling(twin: Twin) -> Iterator[list[tuple[float, bool]]]:
    """A client that asks through the pair all the time, a new connection each; when it asked, and was answered."""
    found: list[tuple[float, bool]] = []
    over = threading.Event()

    def poll(listener: socket.socket) -> None:
        listener.settimeout(0)
        while not over.wait(1 / HERTZ):
            asked = time.monotonic()
            try:
                inside.call(in_machine(twin, CLIENT), lambda: socket.create_connection(ADDRESS, 0.5)).close()
                listener.accept()[0].close()
                found.append((asked, True))
            except OSError:
                found.append((asked, False))

    with inside.call(in_machine(twin, SERVER), lambda: socket.create_server(ADDRESS)) as listener:
        thread = threading.Thread(target=poll, args=(listener,))
        thread.start()
        try:
            yield found
        finally:
            over.set()
            thread.join()


def silence(found: list[tuple[float, bool]]) -> float:
    """The longest time from an answer to the next one."""
    answered = [when for when, done in found if done]
    return max(later - earlier for earlier, later in pairwise(answered))


def play(twin: Twin) -> dict[str, int]:
    return ansible.play(twin, ESTATE, "firewalls.yml", set(PAIR), silent)


def test_a_member_that_fails_leaves_the_other_untouched(hosts: Hosts, twin: Twin, second_up: WatchedUp) -> None:
    hosts.say(DRIFT, PAIR)
    hosts.say("systemctl mask --runtime --now conntrackd", [FIRST])
    try:
        with pytest.raises(UserError, match=FIRST):
            play(twin)
        assert hosts.say(DRIFTED, PAIR) == {FIRST: "0", SECOND: "2"}
    finally:
        hosts.say("systemctl unmask --runtime conntrackd", [FIRST])


def test_a_rolling_change_is_hardly_noticed(hosts: Hosts, twin: Twin, second_up: WatchedUp) -> None:
    """What the member that failed had pending is done first; then the other one's turn comes."""
    pace = Pace()
    with polling(twin) as found:
        changed = play(twin)
    assert min(changed[one] for one in PAIR) > 0, changed
    assert hosts.say(DRIFTED, PAIR) == dict.fromkeys(PAIR, "0")
    assert set(hosts.say("systemctl is-active conntrackd keepalived", PAIR).values()) == {"active\nactive"}
    assert len(found) > 2 * HERTZ
    longest = silence(found)
    MEASURED.append(f"a rolling change of a pair: {len(found)} questions, longest silence {longest:.2f} s")
    assert longest <= pace.limit(AT_MOST)
