"""What the meta tests look at: the tree as git knows it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def tree() -> list[Path]:
    """Every file that is committed or would be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=True,
    )
    found = [REPO / name for name in listed.stdout.split("\0") if name]
    assert len(found) > 50, "git lists no tree"
    return [path for path in found if path.is_file() and not path.is_symlink()]
