"""Documents are what the catalogue (T-F01) and the roles say, byte for byte; a hand edit goes red."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from policies.baseline import load as baseline
from qhs import role_docs
from qhs.net.docs import FOLDER, documents, write
from qhs.playbooks import runs_on
from stacks.model import load

WANTED = documents(load("prod"), load("twin"), baseline())


@pytest.mark.parametrize("name", WANTED)
def test_a_document_is_what_the_catalogue_says(name: str) -> None:
    found = (FOLDER / name).read_text(encoding="utf-8")
    assert found == WANTED[name], f"docs/network/{name} differs from the catalogue: run `qhs net docs` and commit"


@pytest.mark.parametrize(("name", "text"), role_docs.documents().items())
def test_a_role_is_documented_as_it_declares_itself(name: str, text: str) -> None:
    found = (role_docs.ROLES / name).read_text(encoding="utf-8")
    assert found == text, f"roles/{name} differs from the role: run `qhs docs` and commit"


def test_every_role_runs_somewhere() -> None:
    assert role_docs.documents().keys() == {f"{role}/README.md" for role in runs_on()}


def test_nothing_else_lies_there() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(WANTED)


def test_every_flow_and_zone_is_in_the_documents() -> None:
    catalogue = load("prod").catalogue
    assert [name for name in catalogue.flows if f"| `{name}` |" not in WANTED["flows.md"]] == []
    alive = {one.flow for one in load("prod").conversations}
    assert [name for name in alive if f"`{name}`" not in WANTED["matrix.md"]] == []
    assert [name for name, zone in catalogue.zones.items() if zone.title.en not in WANTED["map.svg"]] == []


def test_the_map_is_one_picture_of_a_page_wide() -> None:
    root = ElementTree.fromstring(WANTED["map.svg"])  # noqa: S314 - our own text
    assert root.get("width") == "1280"
    right = [int(x.get("x", "0")) + int(x.get("width", "0")) for x in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert max(right) == 1280


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    assert [path.name for path in write(WANTED, tmp_path)] == list(WANTED)
    assert write(WANTED, tmp_path) == []
    (tmp_path / "flows.md").write_text("edited by hand", encoding="utf-8")
    assert [path.name for path in write(WANTED, tmp_path)] == ["flows.md"]
