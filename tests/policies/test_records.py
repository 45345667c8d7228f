"""The rule for what is on record: a drill that counts passes, each other one is found with its message."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from policies.baseline import Baseline, load
from policies.facts import PlanFacts
from policies.live.records import Drill, Drills, urn
from policies.rules import RECORDS, run
from policies.verdicts import Outcome
from qhs.comply import judge
from stacks.model import load as load_estate
from tests.policies.plans import said
from tests.policies.thresholds import changed, thresholds

NOW = datetime(2026, 11, 30, tzinfo=UTC)
AWAY = "fix: `qhs drill switchover` or `qhs drill failover`"
BACK = "fix: `qhs drill failback`"
WANTED = "wanted one within 365 days that counts"
RESTORE = "wanted one within 31 days that counts; fix: `qhs drill restore`"


def drill(plan: str, days: float = 1, *faults: str) -> Drill:
    """One that ended some days ago."""
    return Drill(plan=plan, ended=NOW - timedelta(days=days), faults=faults)


def of(*held: Drill) -> Drills:
    return Drills(urn=urn("twin"), name="drills", at=NOW, held=held)


def violations(baseline: Baseline, *held: Drill) -> list[str]:
    report = run(RECORDS, PlanFacts((of(*held),)), baseline)
    assert report.crashes == () and len(report.verdicts) == 3
    return said(report.of(Outcome.VIOLATION))


NONE = [
    f"C-DR-06 drills: away: found none that counts; {WANTED}; {AWAY}",
    f"C-DR-06 drills: back: found none that counts; {WANTED}; {BACK}",
    f"C-BAK-04 drills: restore: found none that counts; {RESTORE}",
]
CASES = [
    ((drill("switchover", 365), drill("failback", 365), drill("restore", 31)), []),
    ((drill("failover"), drill("failback"), drill("restore")), []),
    ((drill("failover", 400), drill("switchover", 2), drill("failback", 1), drill("restore")), []),
    ((), NONE),
    (
        (drill("switchover", 1, "no evidence"), drill("failback", 1, "found no signature"), drill("restore", 1, "")),
        NONE,
    ),
    ((drill("switchover"), drill("restore")), NONE[1:2]),
    ((drill("failback"), drill("restore")), NONE[:1]),
    ((drill("switchover"), drill("failback")), NONE[2:]),
    (
        (drill("failover"), drill("failback"), drill("restore", 31.5)),
        [f"C-BAK-04 drills: restore: found the last one 31 days ago; {RESTORE}"],
    ),
    (
        (drill("switchover", 365.5), drill("failback", 366), drill("restore")),
        [
            f"C-DR-06 drills: away: found the last one 365 days ago; {WANTED}; {AWAY}",
            f"C-DR-06 drills: back: found the last one 366 days ago; {WANTED}; {BACK}",
        ],
    ),
    (
        (drill("switchover"), drill("failback", 400), drill("failback", 1, "it failed"), drill("restore")),
        [
            f"C-DR-06 drills: back: found the last one 400 days ago; {WANTED}; {BACK}",
        ],
    ),
]


@pytest.mark.parametrize(("held", "says"), CASES)
def test_what_counts_is_a_young_drill_that_passed_each_way(
    baseline: Baseline, held: tuple[Drill, ...], says: list[str]
) -> None:
    assert violations(baseline, *held) == says


def test_the_same_drills_count_no_more_by_the_date_alone(baseline: Baseline) -> None:
    drills = of(drill("switchover", 2), drill("failback", 1), drill("restore"))
    assert run(RECORDS, PlanFacts((drills,)), baseline).clean
    later = drills.model_copy(update={"at": NOW + timedelta(days=364)})
    late = run(RECORDS, PlanFacts((later,)), baseline).of(Outcome.VIOLATION)
    assert [(one.subject, one.found) for one in late] == [
        ("away", "the last one 366 days ago"),
        ("restore", "the last one 365 days ago"),
    ]


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize("at", thresholds(load(), {rule.control for rule in RECORDS}), ids=lambda at: str(at[-1]))
def test_every_threshold_matters(at: tuple[str, ...], by: int, baseline: Baseline) -> None:
    def found(other: Baseline) -> list[list[str]]:
        return [[line.partition("; wanted")[0] for line in violations(other, *held)] for held, _ in CASES]

    assert found(changed(baseline, at, by)) != found(baseline)


def test_an_estate_that_was_never_moved_does_not_comply(baseline: Baseline) -> None:
    estate = load_estate("twin")
    report = judge(estate, (), {}, baseline, records=(of(),))
    assert [(one.machine, one.control, one.subject) for one in report.findings] == [
        ("drills", "C-DR-06", "away"),
        ("drills", "C-DR-06", "back"),
        ("drills", "C-BAK-04", "restore"),
    ]
    assert report.code == 2
