"""The baseline lints itself: every fault is named with file and line. Every threshold of it matters to some test."""

from __future__ import annotations

import copy
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from policies.baseline import FOLDER, Baseline, Waiver, load
from policies.rules import CLUSTER, LIVE, RECORDS, REGISTRY
from policies.verdicts import Outcome
from stacks.model.source import ModelError
from tests.policies import machines
from tests.policies.plans import Plan, cases, put, said
from tests.policies.thresholds import changed, thresholds

URN = "urn:pulumi:twin.qhdc.network::qhs::qhs:network:Site::qhdc-network"
FAULTS = [
    ("controls.yaml", "sources: [design]", "sources: [desing]", "found source desing; wanted a key of sources.yaml"),
    ("controls.yaml", "rules: [level]", "rules: []", "wanted rules, or the layer that will judge it"),
    ("controls.yaml", "later: records", "later: someday", "wanted Input should be 'network'"),
    ("controls.yaml", "C-LVL-01:", "C-LVL-1:", "found the key controls.C-LVL-1"),
    ("controls.yaml", "evidence: seen", "evidence: sure", "wanted Input should be 'seen'"),
    ("sources.yaml", "status: own", "status: unknown", "wanted status own with kind design, and not otherwise"),
    ("sources.yaml", "practice:\n", "practise:\n", "found source practise, which no control cites"),
    (
        "waivers.yaml",
        "[]",
        "- {control: C-NET-99, target: 'urn:pulumi:s::p::t::n', owner: ab, reason: r, "
        "granted: 2027-01-01, expires: 2027-02-01}",
        "found control C-NET-99; wanted a key of controls.yaml",
    ),
    ("waivers.yaml", "[]", "- {control: C-NET-02, target: x}", "found no waivers.0.owner"),
]


@pytest.mark.parametrize(("file", "old", "new", "says"), FAULTS, ids=[says for *_, says in FAULTS])
def test_a_fault_is_named_with_file_and_line(tmp_path: Path, file: str, old: str, new: str, says: str) -> None:
    shutil.copytree(FOLDER, tmp_path / "baseline")
    path = tmp_path / "baseline" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ModelError) as refusal:
        load(tmp_path / "baseline")
    finding = next(str(one) for one in refusal.value.findings if says in str(one))
    where, line = finding.partition(": ")[0].rsplit(":", 1)
    assert where == str(path)
    changed = text[: text.index(old)].count("\n") + 1
    assert abs(int(line) - changed) <= 6, "the line of the entry that holds the fault"


@pytest.mark.parametrize(
    ("granted", "expires", "fine"),
    [
        (date(2027, 1, 1), date(2027, 4, 1), True),
        (date(2027, 1, 1), date(2027, 4, 2), False),
        (date(2027, 1, 1), date(2027, 1, 1), False),
    ],
)
def test_a_waiver_lives_at_most_90_days(granted: date, expires: date, fine: bool) -> None:
    fields = {"control": "C-NET-02", "target": URN, "owner": "vpqh-attt", "reason": "migration"}
    if fine:
        Waiver.model_validate(fields | {"granted": granted, "expires": expires})
    else:
        with pytest.raises(ValidationError, match="expires within 90 days of granted"):
            Waiver.model_validate(fields | {"granted": granted, "expires": expires})


WAIVER = "- {control: C-LVL-01, target: 'urn:pulumi:s::p::t::n', owner: ab, reason: r, granted: G, expires: E}"
VOID = [
    ({"G": "2027-01-01", "E": "2027-02-02"}, None),
    ({"G": "2027-02-01", "E": "2027-02-02"}, None),
    ({"G": "2027-01-01", "E": "2027-02-01"}, "found expired 2027-02-01, owner ab; wanted the fault mended"),
    ({"G": "2027-02-02", "E": "2027-03-01"}, "found granted 2027-02-02; wanted today, 2027-02-01, or earlier"),
    ({"G": "2027-01-01", "E": "2027-06-01"}, "wanted expires within 90 days of granted"),
    ({"G": "2027-01-01", "E": "2027-02-02", "C-LVL-01": "C-LVL-02"}, "found control C-LVL-02, which no rule judges"),
    ({"G": "2027-01-01", "E": "2027-02-02", "urn:pulumi:s::p::t::n": "qhdc-fw1"}, "found waivers.0.target"),
]


@pytest.mark.parametrize(("changes", "says"), VOID, ids=[str(says) for _, says in VOID])
def test_a_waiver_counts_only_while_it_holds(tmp_path: Path, changes: dict[str, str], says: str | None) -> None:
    shutil.copytree(FOLDER, tmp_path / "baseline")
    text = WAIVER
    for old, new in changes.items():
        text = text.replace(old, new)
    (tmp_path / "baseline" / "waivers.yaml").write_text(f"{text}\n")
    today = date(2027, 2, 1)
    if says is None:
        assert len(load(tmp_path / "baseline", today).waivers) == 1
        return
    with pytest.raises(ModelError) as refusal:
        load(tmp_path / "baseline", today)
    (finding,) = map(str, refusal.value.findings)
    assert says in finding
    assert finding.startswith(f"{tmp_path}/baseline/waivers.yaml:1: ")


def test_registry_and_controls_name_each_other(baseline: Baseline) -> None:
    judged = {(name, rule) for name, control in baseline.controls.items() for rule in control.rules}
    assert judged == {(rule.control, rule.name) for rule in (*REGISTRY, *LIVE, *CLUSTER, *RECORDS)}


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize(
    "at",
    thresholds(load(), {rule.control for rule in REGISTRY}),
    ids=lambda at: ".".join(map(str, at)),
)
def test_every_threshold_matters(at: tuple[Any, ...], by: int, clean: Plan, judge: Any, baseline: Baseline) -> None:
    other = changed(baseline, at, by)

    def differs(plan: Plan) -> bool:
        return said(judge(plan, other).of(Outcome.VIOLATION)) != said(judge(plan).of(Outcome.VIOLATION))

    def with_case(case: dict[str, Any]) -> Plan:
        plan = copy.deepcopy(clean)
        put(plan, case["at"], case["put"])
        return plan

    on_plans = differs(clean) or any(differs(with_case(case)) for case in cases()[at[0]])
    assert on_plans or machines.differ(baseline, other, at[0])
