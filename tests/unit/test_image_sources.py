"""The host's own Debian mirrors, turned to the image's suite; hosts below are examples."""

from pathlib import Path

from qhs.image import sources

DEB822 = """\
Types: deb
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb deb-src
URIs: http://mirror.example/debian-security/
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb [arch=amd64 signed-by=/etc/apt/keyrings/vendor.gpg] http://vendor.example/debian bookworm main
deb http://vendor.example/apt bookworm main
deb-src http://src.example/debian bookworm main
deb [arch=amd64] http://old.example/debian stable main
"""


def test_mirrors_are_kept_and_third_parties_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "debian.sources").write_text(DEB822)
    (tmp_path / "sources.list").write_text(ONE_LINE)
    assert sources.lines(tmp_path) == [
        "deb http://mirror.example/debian trixie main",
        "deb http://mirror.example/debian trixie-updates main",
        "deb http://mirror.example/debian-security/ trixie-security main",
        "deb http://old.example/debian trixie main",
    ]


def test_a_host_without_debian_sources_has_none(tmp_path: Path) -> None:
    assert sources.lines(tmp_path) == []
