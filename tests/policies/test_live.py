"""Rules for machines: clean answers pass; every message is said, to the letter, for one changed answer."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from policies.baseline import Baseline, Waiver, load
from policies.facts import PlanFacts
from policies.live import probe
from policies.live.answers import told
from policies.rules import LIVE, REGISTRY, Rule, run
from policies.verdicts import Outcome, Report
from qhs.comply import ComplyReport, host_of, judge
from qhs.inventory import variables
from stacks.model import Estate
from stacks.model import load as load_estate
from tests.policies.machines import (
    JUDGED,
    MACHINES,
    Answers,
    cases,
    change,
    differ,
    facts,
    host,
    read_clean,
    with_case,
)
from tests.policies.messages import messages
from tests.policies.plans import said
from tests.policies.thresholds import changed, thresholds

ASKED = ("time-stamp", "etcd", "files", "database", "object-sync", "backups")
"""Of functions of the probe's."""
NONE_ON_THE_TWIN = [
    {"at": ["units"], "swap": ["Id=auditd.service\nActiveState=active", "Id=auditd.service\nActiveState=inactive"]},
    {"at": ["apparmor"], "put": {}},
    {"at": ["chronyd"], "put": "261 /usr/sbin/chronyd -F 1 -x\n"},
    {"at": ["kernel", "/proc/sys/fs/protected_symlinks"], "put": "0\n"},
    {"at": ["hsm"], "swap": ["a vendor", "SoftHSM"]},
    {"at": ["charon"], "put": "loaded plugins: kernel-libipsec kernel-netlink\n"},
    {
        "at": ["node-agent", "/etc/qhs/kubernetes/kubelet.json"],
        "swap": ['"failCgroupV1": true', '"failCgroupV1": false'],
    },
]


@pytest.fixture(scope="module")
def clean() -> Answers:
    return read_clean()


@pytest.fixture(scope="module")
def estate() -> Estate:
    return load_estate("twin")


@pytest.fixture
def judged(baseline: Baseline) -> Callable[..., Report]:
    """Judge machines by all rules: a case must be found by one rule and by no other."""

    def _judged(plan: PlanFacts, by: Baseline = baseline) -> Report:
        return run(LIVE, plan, by)

    return _judged


def test_clean_answers_pass_every_rule(clean: Answers, judged: Any) -> None:
    assert told(host(), clean)[1] == {}, "a question that has no answer"
    report = judged(facts(clean))
    assert report.crashes == ()
    assert said(one for one in report.verdicts if one.outcome not in (Outcome.PASS, Outcome.WAIVED)) == []
    assert {one.control for one in report.of(Outcome.PASS)} == {rule.control for rule in LIVE}


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=f"{control}-{n}") for control, found in cases().items() for n, case in enumerate(found)],
)
def test_a_change_is_found_by_one_rule_with_its_message(judged: Any, case: dict[str, Any]) -> None:
    report = judged(with_case(case))
    assert report.crashes == ()
    assert said(report.of(Outcome.VIOLATION)) == (case["says"] if isinstance(case["says"], list) else [case["says"]])
    assert report.of(Outcome.UNDECIDED) == ()


@pytest.mark.parametrize("rule", LIVE, ids=lambda rule: f"{rule.control}-{rule.name}")
def test_every_message_of_a_rules_module_has_a_case(
    rule: type[Rule[Any]], judged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with messages(rule, monkeypatch) as (wanted, found):
        controls = {one.control for one in LIVE if one.__module__ == rule.__module__}
        for case in (case for control in sorted(controls) for case in cases()[control]):
            judged(with_case(case))
    assert found == wanted


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize(
    "at",
    thresholds(load(), {rule.control for rule in LIVE} - {rule.control for rule in REGISTRY}),
    ids=lambda at: ".".join(map(str, at)),
)
def test_every_threshold_matters(at: tuple[Any, ...], by: int, baseline: Baseline) -> None:
    """Those of controls that plans are judged by, too, are among what `test_baseline` looks at."""
    assert differ(baseline, changed(baseline, at, by), at[0])


@pytest.mark.parametrize("name", [one for one in (*probe.COMMANDS, *probe.TEXTS, *ASKED) if one != "log-store"])
def test_a_question_without_an_answer_is_undecided_never_passed(name: str, clean: Answers, judged: Any) -> None:
    broken = clean | {name: {"error": "not found"}}
    assert list(told(host(), broken)[1].values()) == ["not found"]
    report = judged(facts(broken))
    assert report.of(Outcome.VIOLATION) == ()
    late = report.of(Outcome.UNDECIDED)
    assert {one.urn for one in late} == {host().urn}
    assert len(report.of(Outcome.PASS)) + len(report.of(Outcome.WAIVED)) + len(late) == len(report.verdicts)


def test_where_a_log_store_does_not_answer_nobody_is_said_to_be_heard(judged: Any) -> None:
    name = "qhdc-soc1"
    report = judged(facts(read_clean(name) | {"log-store": {"error": "not found"}}, name))
    late = {(one.control, one.urn) for one in report.of(Outcome.UNDECIDED)}
    assert late == {(control, host(one).urn) for control in ("C-LOG-01", "C-LOG-02") for one in MACHINES}
    assert report.of(Outcome.VIOLATION) == ()


def test_an_answer_that_nobody_understands_is_a_gap(clean: Answers) -> None:
    asked, gaps = told(host(), clean | {"tracking": "506 Cannot talk to daemon", "chains": "{"})
    assert gaps.keys() == {"clock", "chains"}
    assert all(why.startswith("not understood") for why in gaps.values())
    assert asked.sshd


def of_the_twin(clean: Answers) -> Answers:
    for case in NONE_ON_THE_TWIN:
        clean = change(clean, case)
    return clean


def comply(
    estate: Estate, baseline: Baseline, answers: Answers, gaps: dict[str, dict[str, str]] | None = None
) -> ComplyReport:
    return judge(estate, facts(answers).resources, gaps or {}, baseline)  # type: ignore[arg-type]  # all are machines


def test_a_limit_is_shown_and_no_violation(clean: Answers, estate: Estate, baseline: Baseline) -> None:
    report = comply(estate, baseline, of_the_twin(clean))
    found = {(one.limit, one.outcome) for one in report.findings if not one.waiver}
    judged = {rule.control for rule in LIVE}
    touched = {name for name, limit in estate.inventory.limits.items() if judged & set(limit.controls)}
    assert found == {(name, Outcome.LIMIT) for name in touched}
    assert report.code == 0
    assert len(report.limits) == len(estate.inventory.limits)


def test_without_limits_the_same_is_a_violation(clean: Answers, baseline: Baseline) -> None:
    report = comply(load_estate("prod"), baseline, of_the_twin(clean))
    assert {one.outcome for one in report.findings if not one.waiver} == {Outcome.VIOLATION}
    assert report.code == 2


def test_a_limit_explains_only_what_it_touches(clean: Answers, baseline: Baseline) -> None:
    report = run(LIVE, facts(of_the_twin(clean)), baseline, {"no-apparmor": ["C-TIME-01"], "no-audit": ["C-HOST-02"]})
    assert [one.limit for one in report.of(Outcome.LIMIT)] == ["no-audit"]


def test_a_machine_that_does_not_answer_makes_the_report_incomplete(
    clean: Answers, estate: Estate, baseline: Baseline
) -> None:
    hosts = (*facts(clean).resources[1:], host())
    report = judge(estate, hosts, {JUDGED: {"anything": "connection timed out"}}, baseline)  # type: ignore[arg-type]  # all are machines
    assert {(one.machine, one.outcome) for one in report.findings} == {(JUDGED, Outcome.UNDECIDED)}
    assert report.code == 3


def test_a_violation_is_waived_until_its_waiver_waives_nothing(
    clean: Answers, estate: Estate, baseline: Baseline
) -> None:
    waiver = Waiver(
        control="C-HOST-02",
        target=host().urn,
        subject="updates",
        owner="vpqh-attt",
        reason="migration",
        granted=date(2026, 11, 1),
        expires=date(2026, 12, 1),
    )
    waived = baseline.model_copy(update={"waivers": [waiver]})
    off = change(clean, {"at": ["apt"], "put": ""})
    assert comply(estate, baseline, off).code == 2
    of_control = [one for one in comply(estate, waived, off).findings if one.control == waiver.control]
    assert [(one.outcome, one.subject) for one in of_control] == [(Outcome.WAIVED, "updates")]
    assert comply(estate, waived, off).code == 0
    assert comply(estate, waived, clean).code == 1


@pytest.mark.parametrize("environment", ["twin", "prod"])
def test_every_machine_starts_where_any_one_site_is_lost(environment: str, baseline: Baseline) -> None:
    """By what its roles are told; a copy that another site's store has is no part of that (C-DR-09)."""
    whole = load_estate(environment)
    machines = tuple(host_of(whole, one) for one in whole.machines.values())
    found = [one for one in run(LIVE, PlanFacts(machines), baseline).verdicts if one.control == "C-DR-09"]
    assert {one.outcome for one in found} == {Outcome.PASS} and len(found) > len(machines)
    storage = next(one for one in whole.machines.values() if one.name == "ndc-storage1")
    assert "object_sync_peers" in variables(whole, storage).keys() - host_of(whole, storage).needs.keys()


def test_what_may_be_a_copy_is_where_the_estate_has_it(estate: Estate) -> None:
    may = {name: host_of(estate, machine).may_lack_s for name, machine in estate.machines.items()}
    assert {name: one for name, one in may.items() if one} == {
        **{name: {"databases": 300} for name in ("qhdc-db1", "qhdc-db2", "ndc-db1", "ndc-db2")},
        **{name: {"objects": 60} for name in ("qhdc-storage1", "ndc-storage1")},
    }


def test_applications_ask_the_time_stamp_service_of_their_own_site(estate: Estate) -> None:
    asking = {name: host_of(estate, machine).time_stamps_of for name, machine in estate.machines.items()}
    assert {name: service for name, service in asking.items() if service} == {
        "qhdc-app1": "time-stamp.qhdc.qhs.internal",
        "qhdc-app2": "time-stamp.qhdc.qhs.internal",
        "ndc-app1": "time-stamp.ndc.qhs.internal",
    }


def test_the_probe_answers_every_question_wherever_it_runs() -> None:
    """What is not there is an error in its place; nothing else of the machine matters."""
    program = Path(probe.__file__).read_text()
    done = subprocess.run([sys.executable, "-I", "-"], input=program, capture_output=True, text=True, check=True)
    answers = json.loads(done.stdout)
    assert answers.keys() == read_clean().keys()
    assert set(probe.UNITS) == {
        line.removeprefix("Id=") for line in read_clean()["units"].splitlines() if "Id=" in line
    }
