"""The index of packages is signed once, with a key that stays; whatever is altered afterwards is seen."""

from __future__ import annotations

from pathlib import Path

import pytest
from pysequoia import Cert, verify

from qhs import mirror_access
from qhs.image import Image
from qhs.twin.names import Twin


@pytest.fixture
def twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Twin:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Twin("unit")


def image(folder: Path, index: str) -> Image:
    folder.mkdir()
    (folder / "Packages").write_text(index)
    return Image(folder / "root", "k", "cached", 0.0)


def content(place: Path) -> dict[str, bytes]:
    return {name: (place / name).read_bytes() for name in ("Packages", "InRelease", "key.asc")}


def test_it_is_signed_once_and_anew_for_another_index(twin: Twin, tmp_path: Path) -> None:
    one, other = image(tmp_path / "one", "Package: a\n"), image(tmp_path / "other", "Package: b\n")
    first = content(mirror_access.folder(twin, one))
    assert content(mirror_access.folder(twin, one)) == first
    second = content(mirror_access.folder(twin, other))
    assert second["Packages"] == b"Package: b\n"
    assert second["InRelease"] != first["InRelease"]
    assert second["key.asc"] == first["key.asc"]
    assert (twin.state / "secrets" / "packages").stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in first["key.asc"]


def test_a_run_that_was_killed_before_it_signed_is_done_again(twin: Twin, tmp_path: Path) -> None:
    one = image(tmp_path / "one", "Package: a\n")
    place = mirror_access.folder(twin, one)
    (place / "InRelease").unlink()
    assert (mirror_access.folder(twin, one) / "InRelease").is_file()


def test_an_altered_release_has_no_good_signature(twin: Twin, tmp_path: Path) -> None:
    place = mirror_access.folder(twin, image(tmp_path / "one", "Package: a\n"))
    release = (place / "InRelease").read_bytes()

    def keys(_: list[str]) -> list[Cert]:
        return [Cert.from_file(str(place / "key.asc"))]

    good = verify(release, store=keys)
    assert good.bytes is not None
    assert b"Origin: qhs\n" in good.bytes
    with pytest.raises(Exception, match=r"(?i)signature|verif"):
        verify(release.replace(b"Origin: qhs", b"Origin: xyz"), store=keys)
