"""What a bubble lets through, whom its applications try to reach, and what of their answers is wrong (T-B01)."""

from __future__ import annotations

from typing import Any

import pytest
import qhs_bubble
import qhs_bubble_net
from qhs_bubble_net import Segment

DATA = Segment("data", "192.0.2.6", "192.0.2.5", 0)
FIRST, SECOND = Segment("a", "192.0.2.10", "192.0.2.9", 0), Segment("b", "192.0.2.14", "192.0.2.13", 0)


def test_the_router_lets_applications_ask_the_data_and_drops_and_counts_all_else() -> None:
    lines = [one.strip() for one in qhs_bubble_net.ruleset(DATA, [FIRST, SECOND]).splitlines()]
    assert [one for one in lines if one.endswith("accept")] == [
        "ct state established,related accept",
        'iifname . ip saddr { "tenant1" . 192.0.2.10, "tenant2" . 192.0.2.14 } oifname "data" '
        "ip daddr 192.0.2.6 tcp dport { 5432, 443 } accept",
    ]
    assert sum("policy drop;" in one for one in lines) == lines.count("counter name refused drop") == 2


def test_an_application_tries_production_the_others_and_its_router_and_nobody_whom_it_may_reach() -> None:
    found = [*qhs_bubble.tries([["10.20.80.9", 5432]], FIRST, [SECOND])]
    assert found == [("10.20.80.9", 5432), ("192.0.2.14", 5432), ("192.0.2.9", 5432)]


GOOD: dict[str, Any] = {
    "databases": {"a": {"said": "", "tables": 1}}, "buckets": {"files": {"said": "", "objects": 0}},
    "tries": {"10.20.80.9:5432": "nothing"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("otherwise", "said"),
    [
        (
            {"databases": {"a": {"said": "no route"}}},
            "a: found its database a so: no route; wanted it read and written",
        ),
        ({"buckets": {"files": {"said": "403"}}}, "a: found its bucket files so: 403; wanted it read and written"),
        (
            {"tries": {"10.20.80.9:5432": "refused"}},
            "a: found 10.20.80.9:5432 answering: refused; wanted nothing",
        ),
        ({"tries": {"10.20.80.9:5432": "open"}}, "a: found 10.20.80.9:5432 answering: open; wanted nothing"),
    ],
)
def test_what_it_could_not_do_and_who_answered_it_is_a_fault(otherwise: dict[str, Any], said: str) -> None:
    assert [*qhs_bubble.wrong("a", GOOD)] == []
    (fault,) = qhs_bubble.wrong("a", GOOD | otherwise)
    assert fault.startswith(said)
