"""Build the golden image with mmdebstrap, once for each set of inputs."""

import json
import os
import platform
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qhs import folders
from qhs.errors import UserError
from qhs.image import recipe as recipes
from qhs.image import sources
from qhs.image.recipe import Recipe
from qhs.lock import in_turn
from qhs.progress import Progress

NEEDED_BYTES = 2 * 1024**3
"""Room for the packages, the unpacked tree and apt's lists of one build."""

# Mounts and processes of its own, all of which the kernel ends when we are killed.
_ALONE = [
    *("setpriv", "--pdeathsig=KILL"),
    *("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"),
]


@dataclass(frozen=True)
class Image:
    """A root tree that machines lay their own disk over; never written to."""

    path: Path
    key: str
    how: Literal["cached", "built"]
    seconds: float


def ensure(progress: Progress, recipe: Recipe | None = None) -> Image:
    """The image of `recipe` (default: images/machine), built if the cache lacks it.

    Safe to kill and to run twice at once: it is built beside its place and renamed into it. Raises UserError.
    """
    started = time.monotonic()
    recipe = recipe or recipes.load()
    key = recipe.key(platform.machine())
    shelf = folders.cache() / "images"
    place = shelf / f"machine-{key}"
    if place.is_dir():
        return Image(place / "root", key, "cached", time.monotonic() - started)
    shelf.mkdir(parents=True, exist_ok=True)
    with in_turn(shelf / ".lock", "image", progress):
        if place.is_dir():
            return Image(place / "root", key, "cached", time.monotonic() - started)
        _preflight(shelf)
        # Left by builds that were killed: whoever holds the lock is the only one who can be building.
        for rest in shelf.glob(".building-*"):
            shutil.rmtree(rest)
        desk = shelf / f".building-{key}"
        desk.mkdir()
        _bootstrap(recipe, desk, progress)
        _record(desk, key, time.monotonic() - started)
        desk.rename(place)
    return Image(place / "root", key, "built", time.monotonic() - started)


def _preflight(shelf: Path) -> None:
    if os.geteuid() != 0:
        raise UserError("the machine image can only be built by root", "run the same command as root")
    if not shutil.which("mmdebstrap"):
        raise UserError("mmdebstrap is not installed", "apt-get install mmdebstrap")
    if not recipes.KEYRING.is_file():
        raise UserError(f"no Debian signing keys at {recipes.KEYRING}", "apt-get install debian-archive-keyring")
    free = shutil.disk_usage(shelf).free
    if free < NEEDED_BYTES:
        raise UserError(
            f"{shelf} has {free / 1e9:.1f} GB free; an image takes {NEEDED_BYTES / 1e9:.1f} GB to build",
            "make room there, or set XDG_CACHE_HOME to a larger disk",
        )


def _bootstrap(recipe: Recipe, desk: Path, progress: Progress) -> None:
    """Make `desk/root` from packages, then make it ours."""
    pool = folders.cache() / "packages"
    pool.mkdir(parents=True, exist_ok=True)
    script = desk / "customize"
    script.write_text(recipe.customize())
    script.chmod(0o755)
    mirrors = sources.lines()
    command = [
        *_ALONE,
        "mmdebstrap",
        *recipe.arguments(),
        # Packages stay in a pool of ours, so that a rebuild downloads only what is new.
        *("--skip=download/empty", "--skip=essential/unlink"),
        '--setup-hook=mkdir -p "$1/var/cache/apt/archives"',
        f"--setup-hook=sync-in {pool} /var/cache/apt/archives",
        f"--customize-hook=sync-out /var/cache/apt/archives {pool}",
        f"--customize-hook={script}",
        *(recipes.SUITE, str(desk / "root")),
        *(("-",) if mirrors else ()),
    ]
    log = desk / "build.log"
    heard = desk / "sources"
    heard.write_text("\n".join(mirrors))
    with log.open("w") as file, heard.open() as said:
        run = subprocess.Popen(command, stdin=said, stdout=file, stderr=subprocess.STDOUT)
        _follow(run, log, progress)
    if run.returncode:
        tail = "\n    ".join(log.read_text(errors="replace").splitlines()[-15:])
        shutil.rmtree(desk)
        raise UserError(
            f"mmdebstrap ended with {run.returncode}; its last lines:\n    {tail}",
            "see whether this host's own `apt-get update` works; then run the same command again",
        )
    script.unlink()
    heard.unlink()


def _follow(run: "subprocess.Popen[bytes]", log: Path, progress: Progress) -> None:
    started = time.monotonic()
    shown = ""
    while True:
        try:
            run.wait(timeout=2)
        except subprocess.TimeoutExpired:
            said = log.read_text(errors="replace").splitlines()
            steps = [line[3:] for line in said if line.startswith("I: ")]
            if steps and steps[-1] != shown:
                shown = steps[-1]
                progress(f"image: {shown} ({time.monotonic() - started:.0f} s; about 60 s in all)")
        else:
            return


def _record(desk: Path, key: str, seconds: float) -> None:
    """Keep beside the image what it was built from, package by package."""
    admin = desk / "root" / "var" / "lib" / "dpkg"
    query = ["dpkg-query", f"--admindir={admin}", "--show", "--showformat=${Package}=${Version}\n"]
    listed = subprocess.run(query, check=True, capture_output=True, text=True).stdout
    (desk / "packages.lock").write_text("".join(sorted(listed.splitlines(keepends=True))))
    built = {"key": key, "suite": recipes.SUITE, "seconds": round(seconds, 1), "packages": listed.count("\n")}
    (desk / "build.json").write_text(json.dumps(built, indent=2) + "\n")
