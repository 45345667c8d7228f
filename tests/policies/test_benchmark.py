"""The checks of the CIS benchmark: none is left out, each is judged or waived by name, and each judge can fail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from policies.baseline import Baseline, load
from policies.baseline.cis import Check
from policies.facts import PlanFacts
from policies.live import probe
from policies.live.answers import told
from policies.live.facts import Host
from policies.rules import CLUSTER, LIVE, run
from policies.rules.benchmark import OfMachines
from policies.verdicts import Outcome
from tests.policies.machines import facts, host, read_clean
from tests.policies.test_cluster import clean, held

SECTIONS = {"1.1": 21, "1.2": 30, "1.3": 7, "1.4": 2, "2": 7, "3.1": 3, "3.2": 2, "4.1": 10, "4.2": 14, "4.3": 1} | {
    "5.1": 13, "5.2": 12, "5.3": 2, "5.4": 2, "5.5": 1, "5.6": 4,
}  # fmt: skip
"""How many checks each section of version 1.12 has."""
JUDGED = {number: one for number, one in load().cis.items() if one.options or one.files or one.absent}


def told_clean() -> Host:
    return told(host(), read_clean())[0]


def outcomes(one: Host, baseline: Baseline) -> dict[str, Outcome]:
    report = run([OfMachines], PlanFacts((one,)), baseline)
    assert report.crashes == ()
    return {verdict.subject: verdict.outcome for verdict in report.verdicts}


def broken(one: Host, check: Check) -> Host:
    """The machine as the check does not want it, or as its waiver does not say that it is."""
    cluster = {name: dict(options) for name, options in one.cluster.items()}  # type: ignore[union-attr]  # it answered
    files: dict[str, str] = dict(one.files)  # type: ignore[arg-type]  # it answered
    for option in check.options[-1:]:
        program, _, name = option.partition(" --")
        cluster[program][name] = "other"
        if not check.accepted:
            del cluster[program][name]
    for pattern in check.files[-1:]:
        path = next(path for path in files if Path(path).match(pattern))
        mode, owner = files[path].split()
        files[path] = f"0777 {owner}" if check.mode else f"{mode} nobody:nogroup"
    for pattern in check.absent:
        files[pattern.replace("*", "admin")] = "0600 root:root"
    return one.model_copy(update={"cluster": cluster, "files": files})


def test_no_check_is_left_out_and_none_is_made_up(baseline: Baseline) -> None:
    wanted = [f"{section}.{n}" for section, count in SECTIONS.items() for n in range(1, count + 1)]
    assert list(baseline.cis) == wanted


def test_each_check_is_passed_or_waived_where_all_is_as_it_should_be(baseline: Baseline) -> None:
    """By this control's rules, or by the other's that the check names."""
    reports = [
        run(LIVE, facts(read_clean()), baseline),
        run(CLUSTER, PlanFacts(tuple(held("twin", "qhdc", clean(), {"cu-tri"}, "tenant"))), baseline),
    ]
    found = {(one.control, one.subject): one.outcome for report in reports for one in report.verdicts}
    for number, check in baseline.cis.items():
        if check.waived:
            assert found["C-K8S-09", number] is Outcome.WAIVED
        elif check.judged_by:
            control, _, subject = check.judged_by.partition(" ")
            assert found[control, subject] is Outcome.PASS
        else:
            assert found["C-K8S-09", number] is Outcome.PASS


@pytest.mark.parametrize("number", JUDGED)
def test_each_check_of_machines_fails_where_it_is_not_so(number: str, baseline: Baseline) -> None:
    """A waiver, too, where what stands in its place is gone."""
    good = outcomes(told_clean(), baseline)[number]
    assert good is (Outcome.WAIVED if JUDGED[number].waived else Outcome.PASS)
    assert outcomes(broken(told_clean(), JUDGED[number]), baseline)[number] is Outcome.VIOLATION


@pytest.mark.parametrize("number", [number for number, one in JUDGED.items() if one.files])
def test_a_file_that_is_not_there_is_no_pass(number: str, baseline: Baseline) -> None:
    empty = told_clean().model_copy(update={"files": {}})
    assert outcomes(empty, baseline)[number] is Outcome.VIOLATION


def test_of_each_file_that_a_check_is_about_a_machine_is_asked(baseline: Baseline) -> None:
    patterns = [one for check in baseline.cis.values() for one in (*check.files, *check.absent)]
    assert [one for one in patterns if not any(Path(one).match(asked) for asked in probe.STATES)] == []


def test_each_right_over_a_pod_is_written_down(baseline: Baseline) -> None:
    """A rule that leaves out what one may come into a pod by, for somebody at least, is found wherever it stands."""
    policy = told_clean().audit
    early = [{"level": "None", "users": ["somebody"], "resources": [{"group": "", "resources": ["pods/exec"]}]}]
    found = Host.model_validate(vars(told_clean()) | {"audit": (*early, *(vars(one) for one in policy))})  # type: ignore[misc, union-attr]  # it answered
    assert outcomes(found, baseline)["3.2.2"] is Outcome.VIOLATION
    assert outcomes(found.model_copy(update={"audit": ()}), baseline)["3.2.2"] is Outcome.VIOLATION
    late = [{"level": "Metadata", "users": ["somebody"]}, {"level": "None"}]
    some = Host.model_validate(vars(told_clean()) | {"audit": late})
    assert outcomes(some, baseline)["3.2.2"] is Outcome.VIOLATION, "what one does is written down, others do it unseen"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"options": ["etcd --name"], "query": "admins"},
        {"files": ["/etc/passwd"]},
        {"options": ["etcd --name"], "mode": "0644"},
        {"options": ["etcd -name"]},
    ],
)
def test_a_check_that_cannot_be_judged_in_one_way_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Check.model_validate({"wants": "anything"} | given)
    assert Check.model_validate({"wants": "anything", "waived": "nobody can say"})
