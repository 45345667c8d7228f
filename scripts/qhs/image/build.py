"""Build the golden image with mmdebstrap, once for each set of inputs."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from qhs import folders
from qhs.errors import UserError
from qhs.image import lock, pool, programs, tree
from qhs.image import recipe as recipes
from qhs.image.recipe import Recipe
from qhs.lock import in_turn
from qhs.progress import Progress

NEEDED_BYTES = 2 * 1024**3
"""Room for the packages, the unpacked tree and apt's lists of one build."""

# Mounts and processes of its own, all of which the kernel ends when we are killed; and no network, so that an image
# is made of the packages that were chosen and of nothing else.
ALONE = [
    *("setpriv", "--pdeathsig=KILL"),
    *("unshare", "--mount", "--propagation=private", "--net", "--pid", "--fork", "--kill-child"),
]


@dataclass(frozen=True)
class Image:
    """A root tree that machines lay their own disk over; never written to."""

    path: Path
    key: str
    how: Literal["cached", "built"]
    seconds: float

    @property
    def packages(self) -> Path:
        """The .deb files that it was built from, with an index of them (`Packages`) beside the folder."""
        return self.path.parent / "packages"


@dataclass(frozen=True)
class Report:
    """What a build made, kept as build.json beside it; a folder's bytes are those of its files."""

    key: str
    suite: str
    digest: str
    """Over all of the root, see qhs.image.tree."""
    packages: int
    root_bytes: int
    packages_bytes: int
    seconds: dict[str, float]
    """By phase."""

    @classmethod
    def read(cls, path: Path) -> Report:
        """What a build.json says."""
        return cls(**json.loads(path.read_text()))


@dataclass
class Clock:
    """Seconds by phase."""

    seconds: dict[str, float] = field(default_factory=dict)
    _since: float = field(default_factory=time.monotonic)

    def lap(self, phase: str) -> None:
        """The phase that ends now."""
        now = time.monotonic()
        self.seconds[phase] = round(now - self._since, 1)
        self._since = now


def shelf() -> Path:
    """Where images lie."""
    return folders.cache() / "images"


def ensure(progress: Progress, recipe: Recipe | None = None) -> Image:
    """The image of `recipe` (default: that of the twin's machines), built if the cache lacks it.

    Safe to kill and to run twice at once: it is built beside its place and renamed into it. Raises UserError.
    """
    started = time.monotonic()
    recipe = recipe or recipes.load()
    key = recipe.key(platform.machine())
    place = shelf() / f"{recipe.name}-{key}"
    if place.is_dir():
        return Image(place / "root", key, "cached", time.monotonic() - started)
    shelf().mkdir(parents=True, exist_ok=True)
    with in_turn(shelf() / ".lock", "image", progress):
        if place.is_dir():
            return Image(place / "root", key, "cached", time.monotonic() - started)
        preflight(shelf())
        # Left by builds that were killed: whoever holds the lock is the only one who can be building.
        for rest in shelf().glob(".building-*"):
            shutil.rmtree(rest)
        desk = shelf() / f".building-{key}"
        desk.mkdir()
        report = build(recipe, desk, progress)
        _tell(recipe, report, progress)
        desk.rename(place)
    return Image(place / "root", key, "built", time.monotonic() - started)


def build(recipe: Recipe, desk: Path, progress: Progress) -> Report:
    """Build into an empty folder: root/, packages/, and what is told of them. Raises UserError, leaving no folder."""
    clock = Clock()
    try:
        packages = pool.gather(recipe, desk, progress)
        clock.lap("packages")
        made = tree.newest(desk / "packages")
        _bootstrap(recipe, desk, made, progress)
        programs.lay(recipe, desk / "root", progress)
        clock.lap("root")
        # The kernel fills it; what mmdebstrap could make there depends on who builds.
        shutil.rmtree(desk / "root/dev")
        (desk / "root/dev").mkdir(mode=0o755)
        (desk / "root/dev").chmod(0o755)
        tree.clamp(desk / "root", made)
        digest = tree.digest(desk / "root")
        clock.lap("digest")
        from qhs.image import bill  # noqa: PLC0415 - every `qhs` would wait a quarter of a second for its libraries

        others, rows = programs.components(recipe), bill.installed(desk / "root")
        bill.write(desk / "bill.cdx.json", desk / "root", packages, digest, made, rows=rows, others=others)
        lock.write(desk / "packages.lock", packages)
        clock.lap("bill of materials")
    except UserError:
        shutil.rmtree(desk)
        raise
    for scratch in ("apt", "apt-mirrors"):
        shutil.rmtree(desk / scratch, ignore_errors=True)
    report = Report(
        key=recipe.key(platform.machine()),
        suite=recipes.SUITE,
        digest=digest,
        packages=len(packages),
        root_bytes=_bytes(desk / "root"),
        packages_bytes=_bytes(desk / "packages"),
        seconds=clock.seconds,
    )
    (desk / "build.json").write_text(json.dumps(asdict(report), indent=2) + "\n")
    return report


def _tell(recipe: Recipe, report: Report, progress: Progress) -> None:
    """Say what was built other than the lock says: a warning, never a refusal, as mirrors drop what they replace."""
    found = lock.difference(recipe.pins, lock.read(shelf() / f".building-{report.key}" / "packages.lock").values())
    if found.changed:
        progress(f"image: {len(found.changed)} packages differ from {recipe.lock.name}; `qhs image show` lists them")


def _bytes(folder: Path) -> int:
    """What the files of a folder hold."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def preflight(shelf: Path) -> None:
    if os.geteuid() != 0:
        raise UserError("the machine image can only be built by root", "run the same command as root")
    for program, package in (("mmdebstrap", "mmdebstrap"), ("apt-ftparchive", "apt-utils")):
        if not shutil.which(program):
            raise UserError(f"{program} is not installed", f"apt-get install {package}")
    if not recipes.KEYRING.is_file():
        raise UserError(f"no Debian signing keys at {recipes.KEYRING}", "apt-get install debian-archive-keyring")
    free = shutil.disk_usage(shelf).free
    if free < NEEDED_BYTES:
        raise UserError(
            f"{shelf} has {free / 1e9:.1f} GB free; an image takes {NEEDED_BYTES / 1e9:.1f} GB to build",
            "make room there, or set XDG_CACHE_HOME to a larger disk",
        )


def _bootstrap(recipe: Recipe, desk: Path, made: int, progress: Progress) -> None:
    """Make `desk/root` from `desk/packages`, then make it ours; `made` stands for the time where a tool writes one."""
    hooks = {"essential": recipe.prepare(), "customize": recipe.customize()}
    scripts = [_script(desk / step, text) for step, text in hooks.items() if text]
    source = f"deb [trusted=yes] copy:{desk} ./"
    command = [
        *(*ALONE, "mmdebstrap", *recipe.arguments(), *(f"--{it.name}-hook={it}" for it in scripts)),
        *(recipes.SUITE, str(desk / "root"), source),
    ]
    log = desk / "build.log"
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(made), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    with log.open("w") as file:
        run = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=environment, umask=0o022
        )
        _follow(run, log, progress)
    if run.returncode:
        tail = "\n    ".join(log.read_text(errors="replace").splitlines()[-15:])
        raise UserError(
            f"mmdebstrap ended with {run.returncode}; its last lines:\n    {tail}",
            "put right what they name; then run the same command again",
        )
    for script in scripts:
        script.unlink()


def _script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def _follow(run: subprocess.Popen[bytes], log: Path, progress: Progress) -> None:
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
