"""Which programs a control plane runs: those of a version that came whole, or the image's."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import qhs_control_plane as program

from qhs.cloud.store import PARTS
from qhs.cloud.upgrade import IMAGE, _archive


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(program, "FOLDER", tmp_path / "programs")
    monkeypatch.setattr(program.os, "chown", lambda *_: None)
    return tmp_path / "programs"


def put(monkeypatch: pytest.MonkeyPatch, version: str, content: bytes) -> None:
    monkeypatch.setattr(program.sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    program.put(version)


def packed(folder: Path, version: str) -> bytes:
    """As an upgrade sends them."""
    (folder / version).mkdir(parents=True)
    built = {part: folder / version / part for part in PARTS}
    for part, path in built.items():
        path.write_text(f"{part} {version}")
    return _archive(built)


def test_both_ends_mean_the_same_by_a_part_and_by_the_image() -> None:
    assert tuple(program.PARTS) == PARTS
    assert program.IMAGE == IMAGE


def test_what_was_put_there_is_used_until_the_images_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
) -> None:
    put(monkeypatch, "1.36.3", packed(tmp_path, "1.36.3"))
    assert program.digests("1.36.3") == {
        part: hashlib.sha256(f"{part} 1.36.3".encode()).hexdigest() for part in sorted(PARTS)
    }
    assert program.used() == {}
    for _ in range(2):
        program.use("1.36.3", PARTS[1])
        assert program.used() == {PARTS[1]: "1.36.3"}
        assert (folder / PARTS[1]).read_text() == f"{PARTS[1]} 1.36.3"
        assert (folder / PARTS[1]).stat().st_mode & 0o777 == 0o755
    for _ in range(2):
        program.use(IMAGE, PARTS[1])
        assert program.used() == {}


def test_a_version_that_was_not_put_there_is_refused_and_what_is_used_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    put(monkeypatch, "1.36.3", packed(tmp_path, "1.36.3"))
    program.use("1.36.3", PARTS[0])
    with pytest.raises(program.UnfitError, match="wanted one that was put there"):
        program.use("1.37.0", PARTS[0])
    assert (program.used(), program.digests("1.37.0")) == ({PARTS[0]: "1.36.3"}, {})


@pytest.mark.parametrize("damage", ["cut off", "another file"])
def test_what_does_not_come_whole_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damage: str) -> None:
    content = packed(tmp_path, "1.36.3")
    if damage == "cut off":
        content = content[: len(content) // 4]
    else:
        strange = io.BytesIO()
        with tarfile.open(fileobj=strange, mode="w") as archive:
            archive.add(tmp_path / "1.36.3/kube-scheduler", arcname="kubelet")
        content = strange.getvalue()
    with pytest.raises((program.UnfitError, tarfile.TarError)):
        put(monkeypatch, "1.36.3", content)
    assert program.digests("1.36.3") == {}


def test_each_unit_mounts_the_chosen_program_over_the_images() -> None:
    units = Path(__file__).parents[2] / "roles/control_plane/templates/etc/systemd/system"
    for part in PARTS:
        said = (units / f"qhs-{part}.service.j2").read_text()
        mounted = f"BindReadOnlyPaths=-/usr/local/lib/qhs-control-plane/programs/{part}:/usr/bin/{part}\n"
        assert mounted in said
        assert f"ExecStart=/usr/bin/{part} " in said
