"""What an image has that is no Debian package: programs of wheels, whose hashes programs.lock has, or built from
source, and images of containers.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from packageurl import PackageURL

from qhs import containers, tools
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
    for target, name in recipe.packed:
        _pack(containers.ensure(name, progress).layout, root, target)


def _pack(layout: Path, root: Path, target: str) -> None:
    """As an archive; the same wherever it is made."""
    place = root / target.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    same = ("--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--mode=u=rwX,go=rX")
    subprocess.run(["tar", "--create", f"--file={place}", f"--directory={layout}", *same, "."], check=True)


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
