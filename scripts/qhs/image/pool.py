"""The packages of an image: chosen, fetched with Debian's signatures checked, and kept in a pool for the next build."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol
from urllib.parse import unquote

from qhs import folders, whole
from qhs.errors import UserError
from qhs.image import lock, sources
from qhs.image.lock import Package
from qhs.image.recipe import KEYRING
from qhs.progress import Progress

CHECKED = "SHA256SUMS"
"""In the pool: the packages whose digest a signed index of Debian has named. Others are not built from."""


class Chosen(Protocol):
    """What an image is to be made of."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """What apt is asked for."""
        ...

    @property
    def pins(self) -> dict[str, Package]:
        """What was built last."""
        ...

    def keep(self, chosen: Iterable[Package]) -> None:
        """Write the lock for these packages."""
        ...


@dataclass(frozen=True)
class _Apt:
    """An apt of our own: the host's proxies, none of its packages and sources."""

    desk: Path
    archives: Path

    @classmethod
    def new(cls, desk: Path, archives: Path, lines: list[str], pins: dict[str, Package]) -> _Apt:
        for folder in (desk / "state/lists/partial", desk / "none/partial", archives / "partial"):
            folder.mkdir(parents=True, exist_ok=True)
        (desk / "status").touch()
        (desk / "sources.list").write_text("".join(f"{line}\n" for line in lines))
        wanted = (f"Package: {one.name}\nPin: version {one.version}\nPin-Priority: 1001\n" for one in pins.values())
        (desk / "preferences").write_text("\n".join(wanted))
        return cls(desk, archives)

    def __call__(self, *arguments: str, archives: Path | None = None) -> str:
        settings = {
            "Dir::State": self.desk / "state",
            "Dir::State::status": self.desk / "status",
            "Dir::Cache": self.desk,
            "Dir::Cache::archives": archives or self.archives,
            "Dir::Etc::sourcelist": self.desk / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": self.desk / "preferences",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::Etc::trusted": KEYRING,
            "Dir::Etc::trustedparts": "/dev/null",
            "APT::Sandbox::User": "root",
            "APT::Default-Release": "",
            "APT::Install-Recommends": "false",
            "APT::Update::Error-Mode": "any",
            "Acquire::ForceHash": "SHA256",
            "Acquire::Languages": "none",
            "Acquire::Retries": "3",
        }
        options = [f"-o{name}={value}" for name, value in settings.items()]
        done = subprocess.run(["apt-get", "-qq", *options, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise _AptError(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def choose(self, recipe: Chosen) -> dict[str, Package]:
        """What is wanted and all that it depends on, by file name."""
        said = self("install", "--print-uris", *recipe.wanted, archives=self.desk / "none")
        rows = [line.split() for line in said.splitlines() if line.startswith("'")]
        return {file: _package(file, digest.removeprefix("SHA256:")) for _, file, _, digest in rows}


class _AptError(Exception):
    """What apt said."""


def gather(recipe: Chosen, desk: Path, progress: Progress) -> list[Package]:
    """Lay the packages of an image into `desk`/packages, with an index of them at `desk`/Packages.

    They come from the pool where it holds all of them in the versions of the lock, whatever mirrors have by now; else
    the mirrors are asked, and the pool keeps what they gave. Raises UserError.
    """
    pool = folders.cache() / "packages"
    pool.mkdir(parents=True, exist_ok=True)
    try:
        chosen = _from_pool(recipe, pool, desk / "apt")
        complete = not lock.difference(recipe.pins, chosen.values()).changed
    except _AptError:
        complete = False
    if not complete:
        progress("image: asking the mirrors for packages that are not in the pool")
        _fetch(recipe, pool, desk / "apt-mirrors", progress, recipe.pins)
        chosen = _from_pool(recipe, pool, desk / "apt")
    shelf = desk / "packages"
    shelf.mkdir()
    for file in chosen:
        os.link(pool / file, shelf / file)
    (desk / "Packages").write_text(_index(desk, "packages"))
    return sorted(chosen.values(), key=lambda one: one.name)


def look(recipe: Chosen, newer: bool, progress: Progress) -> list[Package]:
    """What an image would be built from today, fetched into the pool; `newer`: whatever the lock says. UserError."""
    pool = folders.cache() / "packages"
    pool.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as desk:
        pins = {} if newer else recipe.pins
        return sorted(_fetch(recipe, pool, Path(desk), progress, pins).values(), key=lambda one: one.name)


def _fetch(recipe: Chosen, pool: Path, desk: Path, progress: Progress, pins: dict[str, Package]) -> dict[str, Package]:
    """Have the pool hold what the mirrors would install today, pins first. Raises UserError."""
    desk.mkdir(exist_ok=True)
    apt = _Apt.new(desk, pool, sources.lines() or sources.of_mmdebstrap(desk), pins)
    try:
        apt("update")
        wanted = apt.choose(recipe)
        for file, package in wanted.items():
            if (pool / file).is_file() and digest(pool / file) != package.sha256:
                (pool / file).unlink()  # apt itself looks at the size alone
        progress(f"image: fetching {sum(not (pool / file).is_file() for file in wanted)} of {len(wanted)} packages")
        apt("install", "--download-only", "--yes", *recipe.wanted)
    except _AptError as error:
        raise UserError(
            f"packages of the image are neither in {pool} nor to be had: {error}",
            "see whether this host's own `apt-get update` works; then run the same command again",
        ) from None
    for file, package in wanted.items():
        if digest(pool / file) != package.sha256:
            raise UserError(f"{pool / file}: not what Debian's signed index names", "remove it; run the same again")
    _note(pool, {file: package.sha256 for file, package in wanted.items()})
    return wanted


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_pool(recipe: Chosen, pool: Path, desk: Path) -> dict[str, Package]:
    checked = _checked(pool)
    stanzas = _index(pool.parent, pool.name).split("\n\n")
    good = [one for one in stanzas if checked.get(Path(_field(one, "Filename")).name) == _field(one, "SHA256")]
    apt = _Apt.new(desk, desk / "archives", [f"deb [trusted=yes] copy:{desk}/index ./"], recipe.pins)
    (desk / "index").mkdir(exist_ok=True)
    (desk / "index" / "Packages").write_text("\n\n".join(good) + "\n")
    apt("update")
    return apt.choose(recipe)


def _index(folder: Path, name: str) -> str:
    command = ["apt-ftparchive", "--md5=no", "--sha1=no", "--sha512=no", "packages", name]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def _field(stanza: str, name: str) -> str:
    return next((line.split(": ", 1)[1] for line in stanza.splitlines() if line.startswith(f"{name}: ")), "")


def _package(file: str, sha256: str) -> Package:
    name, version, architecture = unquote(file).removesuffix(".deb").split("_")
    return Package(name, version, architecture, sha256)


def _checked(pool: Path) -> dict[str, str]:
    path = pool / CHECKED
    lines = path.read_text().splitlines() if path.is_file() else []
    return {file: found for found, file in (line.split(maxsplit=1) for line in lines)}


def _note(pool: Path, digests: dict[str, str]) -> None:
    """As `sha256sum --check` reads it; whole, or as it was."""
    known = {file: found for file, found in _checked(pool).items() if (pool / file).is_file()} | digests
    whole.write(pool / CHECKED, "".join(f"{known[file]}  {file}\n" for file in sorted(known)))
