"""`qhs up --changed` goes where something is described otherwise, and nowhere else (T-A04)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from qhs.ansible import beside
from qhs.applied import Applied
from qhs.errors import UserError
from qhs.playbooks import PLAYBOOKS
from stacks.model import Estate, load
from tests.unit.catalogue_copy import Copy


def looked_up() -> set[tuple[str, str, str]]:
    """By the group that a play is for: the variable, and the file below the folder that it names.

    But for `hosts/`, which a site's machines answer with while they are configured.
    """
    lookup = re.compile(r"(?:'ansible.builtin.env', '(\w+)'\)|package_mirror_files)(?: ~ '(/[\w.-]+)/?')?")
    plays = [play for path in PLAYBOOKS.glob("*.yml") for play in yaml.safe_load(path.read_text()) if "hosts" in play]
    authority = "' ~ qhs_signing_authority ~ '", load("twin").inventory.signing.authority
    return {
        (play["hosts"], variable or "QHS_PACKAGES", file)
        for play in plays
        for variable, file in lookup.findall(yaml.safe_dump(play, width=10_000).replace("''", "'").replace(*authority))
        if file or variable in {"QHS_RULESET_KEY", "QHS_NAMES_KEY_FILE"}
        if file != "/hosts"
    }


def test_nothing_differs_from_itself_and_everything_from_nothing(tmp_path: Path) -> None:
    now = Applied.of(Copy.make(tmp_path, "twin").read(), {})
    now.write(tmp_path / "applied.json")
    assert now.within(Applied.read(tmp_path / "applied.json")) == now
    assert now.within(Applied.read(tmp_path / "none.json")) == Applied()


def test_a_machine_more_concerns_itself_and_those_that_know_all_machines(tmp_path: Path) -> None:
    copy = Copy.make(tmp_path, "twin")
    before = Applied.of(copy.read(), {})
    copy.change("estate.yaml", "  qhdc:", "count: 2, number: 50", "count: 3, number: 50")
    after = Applied.of(copy.read(), {})
    kept = after.within(before)
    assert after.machines.keys() - kept.machines.keys() == {
        "qhdc-app3", "qhdc-bastion1", "qhdc-infra1", "ndc-infra1", "hall-infra1", "qhdc-soc1",
    }  # fmt: skip
    assert after.stacks.keys() - kept.stacks.keys() == {"twin.qhdc.network", "twin.qhdc.signing"}


def test_a_part_of_the_clone_that_is_gone_is_said(
    estate: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else all machines would count as described otherwise, now and once more when it is back."""
    monkeypatch.setattr("qhs.applied.CLONE", tmp_path)
    with pytest.raises(UserError, match=r"roles is gone"):
        Applied.of(estate, {})


def test_what_playbooks_are_given_beside_concerns_those_that_they_give_it_to(estate: Estate) -> None:
    before = Applied.of(estate, {"all": ["key"], "role_bastion": ["nobody"]})
    person = Applied.of(estate, {"all": ["key"], "role_bastion": ["somebody"]}).within(before)
    assert before.machines.keys() - person.machines.keys() == {"qhdc-bastion1", "ndc-bastion1"}
    assert Applied.of(estate, {"all": ["another"], "role_bastion": ["nobody"]}).within(before).machines == {}


@pytest.mark.parametrize(("group", "variable", "file"), sorted(looked_up()))
def test_what_a_playbook_looks_up_is_a_reason_to_play_it_again(
    tmp_path: Path, group: str, variable: str, file: str
) -> None:
    environ = {}
    for _, name, path in looked_up():
        place = tmp_path / name / (path.strip("/") or "itself")
        place.parent.mkdir(exist_ok=True)
        place.write_text("")
        environ[name] = str(place.parent if path else place)
    before = beside(environ)
    if file or variable.endswith("_FILE"):
        (tmp_path / variable / (file.strip("/") or "itself")).write_text("another")
    else:
        environ[variable] = "another"
    after = beside(environ)
    assert {one for one in after if after[one] != before[one]} & {group, "all"}


def test_every_lookup_is_known() -> None:
    """Else what it reads would be no reason."""
    said = "".join(path.read_text() for path in PLAYBOOKS.glob("*.yml"))
    assert set(re.findall(r"lookup\('([\w.]+)'", said)) == {
        "ansible.builtin.env", "ansible.builtin.file", "qhs_alerts",
    }  # fmt: skip
    assert len(looked_up()) >= 10
