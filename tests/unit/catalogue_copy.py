"""A copy of the real catalogue and of the real estate that a test may spoil, one change at a time."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stacks.model import Estate, ModelError, read
from stacks.model.load import CATALOGUE, INVENTORIES

NOW = datetime(2026, 11, 25, tzinfo=UTC)


@dataclass(frozen=True)
class Copy:
    """The folder that holds the copy."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, environment: str = "prod") -> Copy:
        """Copy the catalogue and the inventory of an environment."""
        shutil.copytree(CATALOGUE, folder / "catalogue")
        shutil.copy(INVENTORIES / environment / "estate.yaml", folder / "estate.yaml")
        return cls(folder)

    def path(self, file: str) -> Path:
        """Where a file of the copy lies: `flows.yaml`, `estate.yaml`."""
        return self.folder / file if file == "estate.yaml" else self.folder / "catalogue" / file

    def change(self, file: str, after: str, old: str, new: str) -> int:
        """Replace the first `old` at or below the line `after`; returns where that line begins."""
        text = self.path(file).read_text(encoding="utf-8")
        heading = _heading(text, after)
        start = text.index(old, heading)
        self.path(file).write_text(text[:start] + new + text[start + len(old) :], encoding="utf-8")
        return heading

    def line(self, file: str, after: str | int, words: str) -> int:
        """The number of the first line that has `words`, at or below the line `after` or that position."""
        text = self.path(file).read_text(encoding="utf-8")
        start = after if isinstance(after, int) else _heading(text, after)
        return text.count("\n", 0, text.index(words, start)) + 1

    def read(self, now: datetime = NOW) -> Estate:
        """The estate of the copy."""
        return read(self.folder / "catalogue", self.folder / "estate.yaml", now)

    def findings(self, now: datetime = NOW) -> list[str]:
        """What the copy is refused for, with paths as they are below its folder."""
        with pytest.raises(ModelError) as refusal:
            self.read(now)
        return [str(one).replace(f"{self.folder}/", "") for one in refusal.value.findings]


def _heading(text: str, after: str) -> int:
    return 0 if text.startswith(after) else text.index(f"\n{after}") + 1
