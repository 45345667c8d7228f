"""A new expiry in the past is refused; one that has passed since it was committed is a fact that a plan warns of."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from catalogue_copy import NOW, Copy

from stacks.model.checks import expiring

EXPIRY = datetime(2027, 3, 31, 17, tzinfo=UTC)
LATER = EXPIRY + timedelta(days=1)


def _git(copy: Copy, *words: str) -> None:
    who = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", "-C", str(copy.folder), *who, *words], check=True, capture_output=True)


@pytest.fixture
def committed(tmp_path: Path) -> Copy:
    copy = Copy.make(tmp_path)
    _git(copy, "init", "-q")
    _git(copy, "add", ".")
    _git(copy, "commit", "-q", "-m", "the catalogue as it is")
    return copy


def test_an_expiry_that_passed_since_it_was_committed_is_no_mistake(committed: Copy) -> None:
    assert committed.read(LATER).conversations


def test_a_new_expiry_in_the_past_is_refused(committed: Copy) -> None:
    committed.change("flows.yaml", "vendor-to-pam:", "2027-03-31T17:00:00Z", "2026-11-24T17:00:00Z")
    line = committed.line("flows.yaml", "vendor-to-pam:", "expires:")
    assert committed.findings(NOW) == [
        f"catalogue/flows.yaml:{line}: found flow vendor-to-pam expires on 24/11/2026 17:00 UTC, in the past; "
        "wanted a later one"
    ]


def test_it_is_refused_from_its_very_second(committed: Copy) -> None:
    committed.change("flows.yaml", "vendor-to-pam:", "2027-03-31T17:00:00Z", "2027-02-01T07:00:00+07:00")
    moment = datetime(2027, 2, 1, tzinfo=UTC)
    assert committed.read(moment - timedelta(seconds=1)).conversations
    assert "01/02/2027 00:00 UTC" in committed.findings(moment)[0]


def test_a_flow_that_never_was_committed_is_new(committed: Copy) -> None:
    committed.change("flows.yaml", "vendor-to-pam:", "vendor-to-pam:", "supplier-to-pam:")
    assert "flow supplier-to-pam" in committed.findings(LATER)[0]


def test_a_catalogue_that_never_was_committed_is_new(tmp_path: Path) -> None:
    copy = Copy.make(tmp_path)
    _git(copy, "init", "-q")
    _git(copy, "commit", "-q", "--allow-empty", "-m", "nothing")
    assert len(copy.findings(LATER)) == 3


@pytest.mark.parametrize("init", [False, True], ids=["no repository", "no commit"])
def test_without_a_commit_to_compare_with_the_past_is_a_fact(tmp_path: Path, init: bool) -> None:
    copy = Copy.make(tmp_path)
    if init:
        _git(copy, "init", "-q")
    assert copy.read(LATER).conversations


def test_without_git_the_past_is_a_fact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Copy.make(tmp_path).read(LATER).conversations


def test_a_plan_tells_of_a_pair_that_is_written_without_a_member(tmp_path: Path) -> None:
    copy = Copy.make(tmp_path)
    until = NOW + timedelta(days=1)
    switch = f"    degraded: {{ until: {until:%FT%TZ}, reason: fw2 burnt }}\n"
    copy.change("estate.yaml", "  hall:", "    racks:", f"{switch}    racks:")
    estate = copy.read()
    told = f"degraded until {until:%d/%m/%Y %H:%M} UTC: fw2 burnt"
    assert expiring(estate, NOW) == [f"site hall is {told}"]
    assert expiring(estate, until)[0] == f"site hall was {told}"


def test_a_plan_warns_fourteen_days_ahead(tmp_path: Path) -> None:
    estate = Copy.make(tmp_path).read()
    assert expiring(estate, EXPIRY - timedelta(days=14, seconds=1)) == []
    soon = expiring(estate, EXPIRY - timedelta(days=13))
    assert soon[0] == "flow vendor-to-pam expires on 31/03/2027 17:00 UTC (owner vpqh-attt)"
    assert len(soon) == 3
    assert "flow vendor-to-pam expired on 31/03/2027 17:00 UTC (owner vpqh-attt)" in expiring(estate, EXPIRY)
