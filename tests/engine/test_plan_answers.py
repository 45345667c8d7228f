"""What `qhs plan` answers where policies do not simply accept, and where they were not asked at all."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.engine.clone_copy import CloneCopy

STACK = "twin.qhdc.network"


@pytest.fixture
def copied(tmp_path: Path) -> CloneCopy:
    return CloneCopy.make(tmp_path / "clone")


def planned(copied: CloneCopy, code: int) -> dict[str, dict[str, Any]]:
    """The plans of the twin by stack, and nothing but JSON on standard output."""
    done = copied.qhs("plan", "twin", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    plans = {plan["stack"]: plan for plan in json.loads(done.stdout)["plans"]}
    assert STACK in plans
    return plans


def test_a_violation_is_refused_with_exit_code_2_until_it_is_waived(copied: CloneCopy) -> None:
    copied.change("stacks/catalogue/flows.yaml", "serves: [", "serves: [S-999, ")
    refused = [plan for plan in planned(copied, 2).values() if plan["verdict"] == "refused"]
    assert STACK in {plan["stack"] for plan in refused}
    for plan in refused:
        assert all(text.startswith(f"C-TRACE-01 urn:pulumi:{plan['stack']}::") for text in plan["said"])
        assert all("found S-999; wanted ids of the baseline; fix: " in text for text in plan["said"])
        assert plan["said"]
    at = [re.match(r"(C-\S+) (\S+): (flow \S+): ", text) for plan in refused for text in plan["said"]]
    today = datetime.now(UTC).date()
    days = f"granted: {today}, expires: {today + timedelta(days=30)}"
    waivers = [
        f"- {{control: {one[1]}, target: '{one[2]}', subject: {one[3]}, owner: ab, reason: r, {days}}}"
        for one in at
        if one
    ]
    (copied.folder / "policies/baseline/waivers.yaml").write_text("\n".join(waivers))
    plans = planned(copied, 0)
    assert {plan["verdict"] for plan in plans.values()} == {"accepted"}
    for plan in refused:
        own = f": {len(plan['said'])} of "
        assert [text for text in plans[plan["stack"]]["said"] if own in text and "waived, so not passed" in text]


def test_a_value_that_no_preview_knows_is_undecided_with_exit_code_3(copied: CloneCopy) -> None:
    known = '        shown = {**props, "owner": owner, "level": level, "serves": list(serves)}\n'
    late = known.replace(" level,", " pulumi.runtime.rpc.UNKNOWN,")
    copied.change("stacks/components/declared.py", known, late)
    plan = planned(copied, 3)[STACK]
    assert plan["verdict"] == "undecided"
    (said,) = plan["said"]
    assert re.match(r"C-LVL-01: \d+ of \d+ undecided, so not passed\nC-LVL-01 urn:pulumi:twin.qhdc.network::", said)


def test_a_plan_that_no_policy_judged_is_an_error(copied: CloneCopy) -> None:
    copied.change("scripts/qhs/engine/environment.py", "Path | None = POLICY_PACK", "Path | None = None")
    done = copied.qhs("plan", "twin")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"no policy judged the plan of {STACK}" in done.stderr


def test_a_program_that_fails_is_an_error_whatever_policies_say_of_its_half(copied: CloneCopy) -> None:
    copied.change("stacks/network.py", "    for ruleset in", '    raise RuntimeError("half way")\n    for ruleset in')
    done = copied.qhs("plan", "twin")
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"no plan of {STACK}" in done.stderr
    assert "RuntimeError: half way" in done.stderr


def test_no_namespace_to_be_had_is_an_error_not_a_refusal(copied: CloneCopy) -> None:
    # In a user namespace of its own, whose limit says that nobody in it may make another.
    none_left = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    done = copied.qhs("plan", "twin", before=("unshare", "--map-root-user", "sh", "-c", none_left, "sh"))
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"no plan of {STACK}" in done.stderr
    assert "unshare failed" in done.stderr


def test_a_warning_is_printed(copied: CloneCopy) -> None:
    warn = "    for text in expiring("
    copied.change("stacks/__main__.py", warn, f'    pulumi.log.warn("flow x expires")\n{warn}')
    done = copied.qhs("plan", "twin")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("flow x expires") == 1
    assert planned(copied, 0)[STACK]["said"] == ["flow x expires"]
