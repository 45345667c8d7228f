"""Where packages come from: the mirror that this host already uses, so that no address stands in the tree."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from qhs.image.recipe import SUITE

_CODENAME = re.compile(r"^(?P<name>[a-z]+)(?P<pocket>-updates|-security)?$")
_DEBIAN = {"bullseye", "bookworm", "trixie", "forky", "sid", "stable", "testing", "unstable"}
_ONE_LINE = re.compile(r"^deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)$")
_ARCHIVE = re.compile(r"/debian(-security)?/?$")


def lines(apt: Path = Path("/etc/apt")) -> list[str]:
    """The one-line sources of SUITE at the host's Debian mirrors; empty where the host names none.

    Third-party repositories that borrow Debian's suite names are left out: their address does not end
    like the archive's, or they are signed by another key than the archive's.
    """
    found: dict[str, None] = {}
    for uri, suite, components, signed_by in (*_deb822(apt), *_one_line(apt)):
        match = _CODENAME.match(suite)
        if not match or match["name"] not in _DEBIAN or "main" not in components or not _ARCHIVE.search(uri):
            continue
        if signed_by and "debian-archive" not in signed_by:
            continue
        found[f"deb {uri} {SUITE}{match['pocket'] or ''} main"] = None
    return list(found)


def of_mmdebstrap(desk: Path) -> list[str]:
    """What mmdebstrap takes of itself, for a host that names no mirror of Debian."""
    root = desk / "defaults"
    command = ["mmdebstrap", "--quiet", "--simulate", "--mode=root", "--variant=custom", "--format=directory"]
    subprocess.run([*command, SUITE, str(root)], check=True, capture_output=True, text=True)
    return (root / "etc/apt/sources.list").read_text().splitlines()


type _Source = tuple[str, str, list[str], str]


def _deb822(apt: Path) -> Iterator[_Source]:
    for path in sorted((apt / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            fields = _fields(stanza)
            if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes") == "no":
                continue
            for uri in fields.get("uris", "").split():
                for suite in fields.get("suites", "").split():
                    yield uri, suite, fields.get("components", "").split(), fields.get("signed-by", "")


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace():
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
        else:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def _one_line(apt: Path) -> Iterator[_Source]:
    for path in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))):
        if not path.is_file():
            continue
        for line in path.read_text().splitlines():
            if match := _ONE_LINE.match(line.split("#", 1)[0].strip()):
                options = dict(word.partition("=")[::2] for word in (match["options"] or "").split())
                yield match["uri"], match["suite"], match["components"].split(), options.get("signed-by", "")
