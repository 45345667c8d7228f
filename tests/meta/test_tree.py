"""The tree names no registry and no path of the machine it was written on, and holds nothing that is an output."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.meta.conftest import REPO

LARGEST = 400_000

# Written in parts: this file is searched too.
REGISTRIES = [
    r"pypi\." + "org",
    r"pythonhosted\." + "org",
    r"proxy\.golang\." + "org",
    r"sum\.golang\." + "org",
    r"(deb|security|snapshot|ftp)\.debian\." + "org",
    r"archive\.ubuntu\." + "com",
    r"registry\.npmjs\." + "org",
    r"crates\." + "io",
    r"rubygems\." + "org",
    r"(docker|quay|ghcr|gcr)\." + "io/",
    r"registry\.k8s\." + "io",
]
PLACES = ["/" + "work/", "/" + r"root/(\.pyenv|\.cache|go/)", "/" + "home/", "/" + "tmp/uvenv"]
OUTPUT = re.compile(r"(\.lock|\.sum|\.spdx|\.cdx|sbom)[^/]*$")


def hits(patterns: list[str], text: str) -> set[str]:
    """What of the patterns is in a text, hosts and paths as whole words."""
    return {match.group() for pattern in patterns for match in re.finditer(rf"(?<![\w/.-]){pattern}", text)} | {
        match.group() for pattern in patterns for match in re.finditer(rf"(?<=//){pattern}", text)
    }


def text_of(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("patterns", "sample"),
    [
        (REGISTRIES, "https://" + "pypi." + "org/simple"),
        (REGISTRIES, "from " + "docker." + "io/library"),
        (PLACES, "cd " + "/" + "work/main"),
        (PLACES, "'" + "/" + "root/.cache/qhs'"),
    ],
)
def test_the_patterns_find_what_they_are_for(patterns: list[str], sample: str) -> None:
    assert len(hits(patterns, sample)) == 1


@pytest.mark.parametrize("patterns", [REGISTRIES, PLACES], ids=["registry", "place"])
def test_no_file_names_a_registry_or_a_place_of_this_machine(tree: list[Path], patterns: list[str]) -> None:
    assert {str(path): found for path in tree if (found := hits(patterns, text_of(path)))} == {}


def test_no_lock_and_no_bill_of_materials_holds_an_address(tree: list[Path]) -> None:
    outputs = [path for path in tree if OUTPUT.search(path.name)]
    assert outputs, "no lock at all"
    assert [str(path) for path in outputs if re.search(r"https?://", text_of(path))] == []


def test_no_file_is_large(tree: list[Path]) -> None:
    assert {str(path): path.stat().st_size for path in tree if path.stat().st_size > LARGEST} == {}


NUMBERED_SLOT = re.compile(
    r"slot[-_ ]?(id|number|index)?s?[\"']?\s*[:=]\s*[\"']?\d|--slot(-index)?[ =]\d|slot-id=", re.IGNORECASE
)


def test_no_slot_of_a_device_has_its_number_anywhere() -> None:
    """T-E01: slots are numbered anew whenever a token is made."""
    assert NUMBERED_SLOT.search("pkcs11:slot-id=1") and NUMBERED_SLOT.search("slot = 0")
    own = [path for part in ("roles", "stacks", "scripts", "inventories") for path in (REPO / part).rglob("*")]
    found = {
        str(path.relative_to(REPO)): match.group()
        for path in own
        if path.is_file() and path.suffix in (".py", ".yml", ".yaml", ".j2", ".sh", ".cfg")
        if (match := NUMBERED_SLOT.search(text_of(path)))
    }
    assert found == {}
