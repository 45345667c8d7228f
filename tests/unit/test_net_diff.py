"""T-F05: what a change opens and blocks, as text and as a comment on a pull request."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qhs.errors import UserError
from qhs.net.diff import difference, markdown, text
from stacks.model.load import CATALOGUE, INVENTORIES

NOW = datetime(2026, 12, 1, tzinfo=UTC)
TELNET = """
lan-to-database:
  source: [user-lan]
  to: [postgres]
  sites: [qhdc]
  review: 2027-06-30
  title: { vi: Thử, en: A trial }
  owner: vpqh-cntt
  serves: [S-006]
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository of its own with today's catalogue as its one commit."""
    shutil.copytree(CATALOGUE, tmp_path / "stacks" / "catalogue")
    shutil.copytree(INVENTORIES / "twin", tmp_path / "inventories" / "twin")
    who = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "before"], ["tag", "before"]):
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True)
    return tmp_path


def edit(tree: Path, name: str, before: str, after: str) -> None:
    path = tree / "stacks" / "catalogue" / name
    found = path.read_text(encoding="utf-8")
    assert before in found
    path.write_text(found.replace(before, after, 1), encoding="utf-8")


def append(tree: Path, words: str) -> None:
    with (tree / "stacks" / "catalogue" / "flows.yaml").open("a", encoding="utf-8") as file:
        file.write(words)


def test_no_change_is_no_difference(tree: Path) -> None:
    found = difference("before", "twin", NOW, tree)
    assert (found.allowed, found.blocked) == ((), ())
    assert text(found) == "twin: no conversation is opened or blocked since before"


def test_an_added_flow_is_newly_allowed(tree: Path) -> None:
    append(tree, TELNET)
    found = difference("before", "twin", NOW, tree)
    assert found.blocked == ()
    assert [one.cells for one in found.allowed] == [
        ("qhdc.user-lan", "qhdc.data", "postgres", "tcp/5432", "IPv4, IPv6", "lan-to-database", "vpqh-cntt")
    ]
    assert (
        "| qhdc.user-lan | qhdc.data | postgres | tcp/5432 | IPv4, IPv6 | lan-to-database | vpqh-cntt |"
        in markdown(found).splitlines()
    )
    assert "**Newly blocked: 0**" in markdown(found)


def test_a_removed_flow_is_newly_blocked(tree: Path) -> None:
    edit(tree, "flows.yaml", "to: [public-names]", "to: [public-edge]")
    found = difference("before", "twin", NOW, tree)
    assert found.allowed == ()
    assert {(one.sources, one.service) for one in found.blocked} == {(("internet",), "public-names")}
    assert "newly blocked: 2" in text(found)


def test_one_more_port_is_that_port_alone(tree: Path) -> None:
    edit(tree, "services.yaml", "ports: [tcp/5432]", "ports: [tcp/5432, tcp/5433]")
    found = difference("before", "twin", NOW, tree)
    assert found.blocked == ()
    assert {one.ports for one in found.allowed} == {("tcp/5433",)}


def test_a_flow_by_another_name_opens_nothing(tree: Path) -> None:
    edit(tree, "flows.yaml", "internet-to-names:", "anyone-to-names:")
    found = difference("before", "twin", NOW, tree)
    assert (found.allowed, found.blocked) == ((), ())


def test_what_has_expired_since_is_no_fault_of_the_revision(tree: Path) -> None:
    after_all = datetime(2099, 1, 1, tzinfo=UTC)
    flows = tree / "stacks" / "catalogue" / "flows.yaml"
    lines = [line for line in flows.read_text(encoding="utf-8").splitlines() if not line.startswith("  expires:")]
    flows.write_text("\n".join(lines), encoding="utf-8")
    found = difference("before", "twin", after_all, tree)
    assert "vendor-to-pam" in {one.flow for one in found.allowed}


@pytest.mark.parametrize(
    ("revision", "reason"),
    [("nowhere", "not a valid object name"), ("--output=x", "wanted a commit"), ("empty", "did not match any files")],
)
def test_a_revision_that_cannot_be_read_is_one_message(tree: Path, revision: str, reason: str) -> None:
    git = ["git", "-C", str(tree), "-c", "user.name=test", "-c", "user.email=test@example.invalid"]
    made = subprocess.run([*git, "commit-tree", "-m", "x", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"],
                          check=True, capture_output=True, text=True)  # fmt: skip
    subprocess.run([*git, "tag", "empty", made.stdout.strip()], check=True)
    with pytest.raises(UserError, match=reason):
        difference(revision, "twin", NOW, tree)


def test_a_revision_with_a_broken_catalogue_names_file_and_line(tree: Path) -> None:
    with pytest.raises(UserError, match=r"HEAD holds no estate that can be read: .*flows\.yaml:\d+"):
        append(tree, TELNET.replace("postgres", "nothing"))
        git = ["git", "-C", str(tree), "-c", "user.name=test", "-c", "user.email=test@example.invalid"]
        subprocess.run([*git, "commit", "-qam", "broken"], check=True)
        difference("HEAD", "twin", NOW, tree)
