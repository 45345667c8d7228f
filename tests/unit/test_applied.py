"""`qhs up --changed` goes where something is described otherwise, and nowhere else (T-A04)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qhs.ansible import beside
from qhs.applied import Applied
from qhs.playbooks import PLAYBOOKS
from stacks.model import Estate
from tests.unit.catalogue_copy import Copy

# The variable, and the file below the folder that it names; what machines answered in a run is below `hosts`.
LOOKED_UP = sorted(
    {
        (variable or "QHS_PACKAGES", file)
        for path in PLAYBOOKS.glob("*.yml")
        for variable, file in re.findall(
            r"(?:'ansible.builtin.env', '(\w+)'\)|package_mirror_files)(?: ~ '(/[\w.]+)/?')?", path.read_text()
        )
        if (variable or "QHS_PACKAGES", file) != ("QHS_PACKAGES", "") and file != "/hosts"
    }
)


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
    assert after.sites.keys() - kept.sites.keys() == {"qhdc"}


def test_what_playbooks_are_given_beside_concerns_those_that_they_give_it_to(estate: Estate) -> None:
    before = Applied.of(estate, {"all": ["key"], "role_bastion": ["nobody"]})
    person = Applied.of(estate, {"all": ["key"], "role_bastion": ["somebody"]}).within(before)
    assert before.machines.keys() - person.machines.keys() == {"qhdc-bastion1", "ndc-bastion1"}
    assert Applied.of(estate, {"all": ["another"], "role_bastion": ["nobody"]}).within(before).machines == {}


@pytest.mark.parametrize(("variable", "file"), LOOKED_UP)
def test_what_a_playbook_looks_up_is_a_reason_to_play_it_again(tmp_path: Path, variable: str, file: str) -> None:
    environ = {}
    for name, path in LOOKED_UP:
        place = tmp_path / name / (path.strip("/") or "itself")
        place.parent.mkdir(exist_ok=True)
        place.write_text("")
        environ[name] = str(place.parent if path else place)
    before = beside(environ)
    if file or variable.endswith("_FILE"):
        (tmp_path / variable / (file.strip("/") or "itself")).write_text("another")
    else:
        environ[variable] = "another"
    assert beside(environ) != before
