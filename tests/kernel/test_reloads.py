"""T-F07 in small; tests/soak has the full count."""

from __future__ import annotations

import sys
from pathlib import Path

from stacks.model.rules import Rule
from stacks.provider.ruleset.nft import render
from tests.kernel.place import PROGRAM, Place
from tests.kernel.reloads import DENIED, STREAMS, WITNESS, measured
from tests.kernel.street import Leg, Pair, Street
from tests.twin.waiting import await_

RELOADS = 30
RELOAD = f"""
import sys
sys.path.insert(0, {str(PROGRAM.parent)!r})
import qhs_ruleset
text = sys.stdin.read()
for _ in range({RELOADS}):
    qhs_ruleset.load(text)
"""


def test_reloads_reset_no_stream_and_let_nothing_pass_that_all_of_them_deny(tmp_path: Path) -> None:
    found = measured(tmp_path, 10)
    assert found["streams alive"] == STREAMS, found
    assert found["resets"] == found["denied packets that passed"] == 0, found
    assert found["denied packets that came"] > 1000, found


def test_what_no_rule_matches_does_not_pass_at_the_moment_of_a_reload(tmp_path: Path) -> None:
    """Seen to fail where the chains are replaced as well: 61 of 314,657 packets passed in 60 reloads."""
    place = Place(tmp_path, 30)
    street = Street(place, {"app": Leg(Pair("10.91.0.1", "fd91::1"), Pair("10.91.0.2", "fd91::2"))})
    try:
        assert place.shell("nft", "-f", "-", text=WITNESS).returncode == 0
        ruleset = render([("loopback", Rule("input", iif="lo"))], {})
        place.keep(ruleset)
        street.talk("app", torrent=[("10.91.0.1", DENIED)])
        await_(lambda: place.witness()["came"] > 1000)
        done = place.shell(sys.executable, "-c", RELOAD, text=ruleset)
        assert done.returncode == 0, done.stderr
        seen = place.witness()
    finally:
        street.end()
        place.end()
    assert seen["passed"] == 0, seen
    assert seen["came"] > 50 * RELOADS, seen
