"""Roots of their own over the machine image."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qhs import image


@contextmanager
def over_image(folder: Path) -> Iterator[Path]:
    """A root of its own until the block ends."""
    for name in ("root", "upper", "work"):
        (folder / name).mkdir(parents=True)
    layers = f"lowerdir={image.ensure(print).path},upperdir={folder}/upper,workdir={folder}/work"
    subprocess.run(["mount", "-t", "overlay", "none", "-o", layers, folder / "root"], check=True)
    try:
        yield folder / "root"
    finally:
        subprocess.run(["umount", "--lazy", folder / "root"], check=True)
