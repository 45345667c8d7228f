"""A copy of this clone that a test may spoil: its `qhs` judges its own catalogue, by its own policies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CLONE = Path(__file__).parents[2]
FILES = (
    "Pulumi.yaml",
    "ansible.cfg",
    "images",
    "inventories",
    "policies",
    "requirements.lock",
    "roles",
    "scripts",
    "stacks",
)


@dataclass(frozen=True)
class CloneCopy:
    """The folder that holds the copy."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> CloneCopy:
        """Copy what `qhs plan` and `qhs up` read."""
        folder.mkdir()
        for name in FILES:
            source = CLONE / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder / name)
        return cls(folder)

    def change(self, file: str, old: str, new: str) -> None:
        """Replace the first `old` of a file."""
        text = (self.folder / file).read_text()
        assert old in text, (file, old)
        (self.folder / file).write_text(text.replace(old, new, 1))

    @property
    def environ(self) -> dict[str, str]:
        """In which a process imports the copy's `qhs`."""
        return {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.folder / "scripts"), str(self.folder)])}

    def qhs(self, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Run the copy's `qhs`; `before` is the start of the command line that runs it."""
        return subprocess.run(
            [*before, sys.executable, "-c", "from qhs.main import main; main()", *arguments],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
