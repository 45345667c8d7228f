"""The lock of an image: every package that it is built from, by version and digest; no address is in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from qhs import whole


@dataclass(frozen=True)
class Package:
    """A Debian package; `sha256` is that of its .deb."""

    name: str
    version: str
    architecture: str
    sha256: str


@dataclass(frozen=True)
class Difference:
    """What was built other than locked. The same version with another digest has changed too."""

    changed: dict[str, tuple[Package, Package]]
    added: dict[str, Package]
    gone: dict[str, Package]

    def __bool__(self) -> bool:
        return bool(self.changed or self.added or self.gone)

    def rows(self) -> list[tuple[str, str, str]]:
        """Package, version of the lock, version that was built; sorted by package."""
        rows = [(name, old.version, new.version) for name, (old, new) in self.changed.items()]
        rows += [(name, "-", new.version) for name, new in self.added.items()]
        rows += [(name, old.version, "-") for name, old in self.gone.items()]
        return sorted(rows)


def read(path: Path) -> dict[str, Package]:
    """The packages of a lock by name; none where there is no lock. Raises ValueError for a line that is none."""
    if not path.is_file():
        return {}
    packages = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            one = Package(*line.split(" "))
        except TypeError:
            raise ValueError(f"{path}:{number}: {line!r}; wanted name, version, architecture, SHA-256") from None
        packages[one.name] = one
    return packages


def write(path: Path, packages: Iterable[Package]) -> None:
    """The lock of these packages, replaced whole."""
    lines = sorted(f"{one.name} {one.version} {one.architecture} {one.sha256}\n" for one in packages)
    whole.write(path, "".join(lines))


def difference(locked: dict[str, Package], built: Iterable[Package]) -> Difference:
    """Of what was built, what the lock says otherwise."""
    found = {one.name: one for one in built}
    return Difference(
        changed={name: (locked[name], one) for name, one in found.items() if name in locked and locked[name] != one},
        added={name: one for name, one in found.items() if name not in locked},
        gone={name: one for name, one in locked.items() if name not in found},
    )
