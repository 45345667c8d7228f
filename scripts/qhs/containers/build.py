"""Build a container image: packages unpacked, none set up, in one layer with one digest wherever it is built."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from qhs import folders
from qhs.containers import recipe as recipes
from qhs.containers.recipe import Recipe
from qhs.errors import UserError
from qhs.image import lock, pool, tree
from qhs.image.recipe import LEFT_OUT
from qhs.lock import in_turn
from qhs.progress import Progress
from stacks.model.images import FOLDER

TAG = "built"
"""What the one image of a layout is called there; whoever runs it names its digest."""


@dataclass(frozen=True)
class Report:
    """What a build made, kept as build.json beside it."""

    name: str
    key: str
    digest: str
    """Of the manifest, as registries and nodes name the image."""
    packages: int
    bytes: int
    """Of its blobs, as they go over the wire."""


@dataclass(frozen=True)
class Built:
    """An image as an OCI layout; beside it the bill of materials and the lock that it was built from."""

    folder: Path
    report: Report
    how: Literal["cached", "built"]

    @property
    def layout(self) -> Path:
        """The OCI layout; its image is called `TAG`."""
        return self.folder / "layout"

    @property
    def bill(self) -> Path:
        """In CycloneDX."""
        return self.folder / "bill.cdx.json"


def shelf() -> Path:
    """Where images lie."""
    return folders.cache() / "containers"


def ensure(name: str, progress: Progress, folder: Path = FOLDER) -> Built:
    """The image of this name, built if the cache lacks it. Safe to kill and to run twice at once.

    Raises UserError, also where it is not the one that was written down: what runs is what was looked at.
    """
    recipe = recipes.load(name, folder)
    built = made(recipe, progress)
    if recipe.digest not in ("", built.report.digest):
        raise UserError(
            f"{name}: built {built.report.digest}; wanted {recipe.digest}, as beside {recipe.lock}",
            f"`qhs images lock {name}` where its recipe was changed; else see which of its packages is another",
        )
    return built


def made(recipe: Recipe, progress: Progress) -> Built:
    """The image of a recipe, whatever was written down of it. Raises UserError."""
    name = recipe.name
    place = shelf() / f"{name}-{recipe.key()}"
    shelf().mkdir(parents=True, exist_ok=True)
    with in_turn(shelf() / ".lock", "images", progress):
        if place.is_dir():
            return Built(place, _read(place), "cached")
        _preflight()
        desk = shelf() / ".building"
        shutil.rmtree(desk, ignore_errors=True)  # left by a build that was killed
        desk.mkdir()
        progress(f"{name}: building the image")
        _build(recipe, desk, progress)
        desk.rename(place)
    return Built(place, _read(place), "built")


def _read(place: Path) -> Report:
    return Report(**json.loads((place / "build.json").read_text()))


def _preflight() -> None:
    for program, package in (("umoci", "umoci"), ("dpkg-deb", "dpkg"), ("apt-ftparchive", "apt-utils")):
        if not shutil.which(program):
            raise UserError(f"{program} is not installed", f"apt-get install {package}")


def _build(recipe: Recipe, desk: Path, progress: Progress) -> None:
    packages = pool.gather(recipe, desk, progress)
    root = desk / "root"
    root.mkdir(mode=0o755)
    for package in sorted((desk / "packages").glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(package), str(root)])
    _leave_out(root)
    if recipe.rootfs.is_dir():
        _run(["cp", "-R", "--no-preserve=ownership,mode", f"{recipe.rootfs}/.", str(root)])
    _compile(root, recipe.contents.bytecode)
    made = tree.newest(desk / "packages")
    tree.clamp(root, made)
    digest, size = _pack(recipe, desk / "layout", root, made)
    from qhs.image import bill  # noqa: PLC0415 - every `qhs` would wait a quarter of a second for its libraries

    rows = [(one.name, one.version, one.architecture) for one in packages]
    bill.write(desk / "bill.cdx.json", root, packages, digest, made, rows=rows, name=recipe.name)
    lock.write(desk / "packages.lock", packages)
    for scratch in ("apt", "apt-mirrors", "packages", "root"):
        shutil.rmtree(desk / scratch, ignore_errors=True)
    (desk / "Packages").unlink()
    report = Report(recipe.name, recipe.key(), digest, len(packages), size)
    (desk / "build.json").write_text(json.dumps(asdict(report), indent=2) + "\n")


def _leave_out(root: Path) -> None:
    """What nobody reads in a container; licences go with what they are for."""
    for folder in LEFT_OUT:
        if folder != "doc":
            shutil.rmtree(root / "usr/share" / folder, ignore_errors=True)
    for path in (root / "usr/share/doc").rglob("*"):
        if path.is_file() and path.name != "copyright":
            path.unlink()


def _compile(root: Path, libraries: tuple[str, ...]) -> None:
    """By the image's own Python, in it: the same bytes each time, and good whatever the time of a file."""
    if libraries:
        inside = ["unshare", "--map-root-user", "env", "-i", "PATH=/usr/sbin:/usr/bin", "PYTHONHASHSEED=0"]
        check = ["--invalidation-mode", "unchecked-hash"]
        _run([*inside, "chroot", str(root), "/usr/bin/python3", "-m", "compileall", "-q", *check, *libraries])


def _pack(recipe: Recipe, layout: Path, root: Path, made: int) -> tuple[str, int]:
    """As an OCI layout of one image without any history: that would tell when it was packed."""
    image = f"{layout}:{TAG}"
    entrypoint = [f"--config.entrypoint={word}" for word in recipe.contents.entrypoint]
    user = f"{recipe.contents.user}:{recipe.contents.user}"
    created = datetime.fromtimestamp(made, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    _run(["umoci", "init", "--layout", str(layout)])
    _run(["umoci", "new", "--image", image])
    _run(["umoci", "insert", "--no-history", "--image", image, str(root), "/"])
    config = ["--config.user", user, "--created", created, *entrypoint]
    _run(["umoci", "config", "--no-history", "--image", image, *config])
    _run(["umoci", "gc", "--layout", str(layout)])
    (manifest,) = json.loads((layout / "index.json").read_text())["manifests"]
    size = sum(path.stat().st_size for path in (layout / "blobs").rglob("*") if path.is_file())
    return str(manifest["digest"]), size


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, umask=0o022)
    if done.returncode:
        raise UserError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()}", "put right what it names")
