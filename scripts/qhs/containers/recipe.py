"""What each container image is made of: data under images/containers, and the key that these inputs give it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qhs.errors import UserError
from qhs.image import lock
from qhs.image.lock import Package
from qhs.image.recipe import SUITE, architecture
from stacks.model.images import FOLDER, NOBODY, digest_file, pinned


class Contents(BaseModel):
    """An image.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    packages: tuple[str, ...] = Field(min_length=1, description="with all that they depend on; no other is in it")
    entrypoint: tuple[str, ...] = Field(min_length=1)
    user: int = Field(NOBODY, ge=1, description="its number, and its group's; root is refused (C-K8S-04)")
    bytecode: tuple[str, ...] = Field((), description="folders whose Python is compiled, or each start does it anew")


@dataclass(frozen=True)
class Recipe:
    """The inputs of one image."""

    folder: Path
    contents: Contents

    @property
    def name(self) -> str:
        """Of the image, without the registry that has it."""
        return self.folder.name

    @property
    def wanted(self) -> tuple[str, ...]:
        """What apt is asked for."""
        return self.contents.packages

    @property
    def rootfs(self) -> Path:
        """Files of ours that lie over the packages'; it need not be there."""
        return self.folder / "rootfs"

    @property
    def lock(self) -> Path:
        """What was built last; the next build takes the same where it can."""
        return self.folder / f"{architecture()}.lock"

    @property
    def pins(self) -> dict[str, Package]:
        """The lock, by package."""
        return lock.read(self.lock)

    @property
    def digest(self) -> str:
        """Which it has wherever it is built; empty: nobody has written it down yet."""
        return pinned(self.name, self.folder.parent, architecture())

    def keep_digest(self, digest: str) -> None:
        """Write it down."""
        digest_file(self.folder, architecture()).write_text(f"{digest}\n")

    def keep(self, chosen: Iterable[Package]) -> None:
        """Write the lock for these packages."""
        lock.write(self.lock, chosen)

    def key(self) -> str:
        """A short name that changes when, and only when, something changes that the image is built from."""
        digest = hashlib.sha256(f"{SUITE}\0{architecture()}".encode())
        locks = {*self.folder.glob("*.lock"), *self.folder.glob("*.digest")}  # of other architectures too
        for path in sorted(path for path in self.folder.rglob("*") if path.is_file() and path not in locks):
            digest.update(f"\0{path.relative_to(self.folder)}\0".encode() + path.read_bytes())
        digest.update(self.lock.read_bytes() if self.lock.is_file() else b"")
        return digest.hexdigest()[:16]


def names(folder: Path = FOLDER) -> list[str]:
    """Of all images."""
    return sorted(path.parent.name for path in folder.glob("*/image.yaml"))


def load(name: str, folder: Path = FOLDER) -> Recipe:
    """Of one image. Raises UserError where there is none of this name, or its file is wrong."""
    path = folder / name / "image.yaml"
    if not path.is_file():
        raise UserError(
            f"{name}: found no {path}; wanted one of {', '.join(names(folder))}",
            "name one of these, or write that file",
        )
    try:
        return Recipe(path.parent, Contents.model_validate(yaml.safe_load(path.read_text())))
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise UserError(f"{path}: {found}", "put that right") from None
