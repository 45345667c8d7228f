"""Programs of an image that are no Debian packages: of wheels, whose hashes programs.lock has, or built from source."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from packageurl import PackageURL

from qhs import tools
from qhs.image.recipe import Recipe
from qhs.progress import Progress
from qhs.tools import spec, wheels

NEEDS_MIB = 600


def lay(recipe: Recipe, root: Path, progress: Progress) -> None:
    """Copy them into a root, as root's own. Raises UserError."""
    if recipe.programs:
        site = wheels.unpacked("image-programs", recipe.wheels, NEEDS_MIB, progress)
        for target, source in recipe.programs:
            _copy(site / source, root, target)
    found = {name: tools.built(name, progress) for name in {tool for _, tool in recipe.built}}
    for target, name in recipe.built:
        _copy(found[name].programs[Path(target).name], root, target)


def _copy(source: Path, root: Path, target: str) -> None:
    place = root / target.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, place)
    place.chmod(0o755 if "/bin/" in target else 0o644)


def components(recipe: Recipe) -> list[PackageURL]:
    """What they are, for the bill of materials."""
    locked = re.findall(r"^([\w.-]+)==(\S+)", recipe.wheels.read_text(), re.MULTILINE) if recipe.programs else []
    named = {name: spec.load(name) for name in {tool for _, tool in recipe.built}}
    return [
        *(PackageURL("pypi", None, name, version) for name, version in locked),
        *(PackageURL("golang", None, one.module, f"v{one.version}") for _, one in sorted(named.items())),
    ]
