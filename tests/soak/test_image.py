"""T-A16: the image, built twice with no network and everything else about the builder different, is the same image."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from qhs import folders
from qhs.image import Report, bill, ensure, recipe, tree

pytestmark = pytest.mark.live

BUILD = """\
import os, sys, datetime
from pathlib import Path
from qhs.image import build, recipe
os.umask(int(sys.argv[2], 8))
print(datetime.datetime.now().year)
desk = Path(sys.argv[1]); desk.mkdir(parents=True)
build.build(recipe.load(), desk, lambda line: None)
"""


@pytest.fixture
def another_clock() -> dict[str, str]:
    """What makes programs believe in a time years ahead, but not about the times of files."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    assert found, "found no libfaketime; wanted it for a wrong clock. Way out: apt-get install libfaketime"
    # By its own path, and by one at which processes within the new root find it: the first process of the build's own
    # namespace stands outside of that root.
    library = f"{found[0]} /proc/1/root{found[0]}"
    return {
        "LD_PRELOAD": library,
        "FAKETIME": "+2000d",
        "NO_FAKE_STAT": "1",
        "FAKE_UTIME": "0",
        "TZ": "Asia/Ho_Chi_Minh",
    }


@pytest.fixture
def shelf() -> Iterator[Path]:
    """On the disk of the pool, since packages are hard links into it."""
    ensure(print)  # the pool holds what this recipe needs: the only step that may ask a mirror
    with TemporaryDirectory(dir=folders.cache(), prefix="soak-") as folder:
        yield Path(folder)


def built(desk: Path, umask: str, environment: dict[str, str]) -> int:
    """Build without any network; the year that the builder believed in."""
    command = ["unshare", "--net", sys.executable, "-c", BUILD, str(desk), umask]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout.split()[-1])


def test_two_builds_far_apart_give_one_tree(
    shelf: Path, another_clock: dict[str, str], figures: dict[str, float]
) -> None:
    here, there = shelf / "a", shelf / "b" / "further" / "down"
    started = time.monotonic()
    years = built(here, "022", {}), built(there, "077", another_clock)
    assert years[1] - years[0] > 4, "the second clock was not another one"
    differing = set(tree.entries(here / "root")) ^ set(tree.entries(there / "root"))
    assert sorted(differing)[:20] == []
    reports = [Report.read(desk / "build.json") for desk in (here, there)]
    assert reports[0].digest == reports[1].digest
    assert (here / "bill.cdx.json").read_bytes() == (there / "bill.cdx.json").read_bytes()
    assert (here / "packages.lock").read_bytes() == recipe.load().lock.read_bytes()
    figures["builds"] = len(reports)
    figures["differing files"] = len(differing)
    figures["packages"] = len(bill.installed(here / "root"))
    figures["seconds a build"] = round((time.monotonic() - started) / len(reports), 1)
