"""Tools that the machine already has."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from packaging.version import Version

from qhs.folders import cache
from qhs.tools.spec import OnPath

_VERSION = re.compile(r"\d+(?:\.\d+)+(?:-?(?:rc|alpha|beta|dev)[.\d]*)?")


def find(wanted: OnPath) -> tuple[dict[str, Path], Version] | None:
    """The programs and their version, where all are on PATH and fit. Builds of ours do not count as installed."""
    path = foreign_path()
    found = {program: shutil.which(program, path=path) for program in wanted.programs}
    programs = {program: Path(where) for program, where in found.items() if where}
    if len(programs) < len(found):
        return None
    version = ask([str(programs.get(wanted.probe[0], wanted.probe[0])), *wanted.probe[1:]])
    return (programs, version) if version and wanted.fits(version) else None


def ask(probe: list[str]) -> Version | None:
    """The first version in what the command `probe` prints; None if it fails, hangs for 20 s or names none."""
    quiet = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true", "GOTOOLCHAIN": "local"}
    try:
        said = subprocess.run(probe, capture_output=True, text=True, timeout=20, env=quiet, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(said.stdout)
    return Version(match.group()) if match else None


def foreign_path() -> str:
    """PATH without the folders of our own cache."""
    ours = cache()
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if folder and not Path(folder).is_relative_to(ours))
