"""The golden image, built for real."""

import platform
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from qhs import folders
from qhs.errors import UserError
from qhs.image import ensure, recipe

BUILD = "from qhs.image import ensure; ensure(lambda line: print(line, flush=True))"


def builders(shelf: Path) -> list[str]:
    """The processes that work on an image of this shelf."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            found.append(path.read_text().replace("\0", " "))
    return [line for line in found if f"{shelf}/.building" in line]


def test_a_killed_build_leaves_nothing_that_the_next_one_minds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = [*folders.cache().glob("uv-*"), *(folders.cache() / one for one in ("packages", "tools"))]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folders.cache().mkdir(parents=True)
    for one in fetched:
        one.mkdir(parents=True, exist_ok=True)
        (folders.cache() / one.name).symlink_to(one)
    shelf = folders.cache() / "images"

    with subprocess.Popen([sys.executable, "-c", BUILD], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        assert any("installing" in line for line in run.stdout)
        assert builders(shelf)
        run.kill()
    time.sleep(1)
    assert builders(shelf) == []
    assert list(shelf.glob("machine-*")) == []
    assert len(list(shelf.glob(".building-*"))) == 1

    image = ensure(lambda _: None)
    assert image.how == "built"
    assert sorted(path.name for path in shelf.iterdir()) == [".lock", f"machine-{image.key}"]
    assert ensure(lambda _: None).how == "cached"
    _judge(image.path)


def _judge(root: Path) -> None:
    locked = (root.parent / "packages.lock").read_text()
    assert "\nkeepalived 1:2" in locked
    assert "\nsystemd 257" in locked
    assert (root / "etc/machine-id").read_text() == ""
    assert list((root / "etc/ssh").glob("ssh_host_*")) == []
    assert not any(path.is_file() for path in (root / "etc/apt").rglob("sources.list*"))
    for unit in recipe.load().masked:
        assert (root / "etc/systemd/system" / unit).readlink() == Path("/dev/null")


def test_a_full_disk_is_told_before_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=True)
    try:
        with pytest.raises(UserError, match=r"0\.0 GB free; an image takes 2\.1 GB"):
            ensure(lambda _: None)
        key = recipe.load().key(platform.machine())
        assert not list(tmp_path.rglob(f"*{key}*"))
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
