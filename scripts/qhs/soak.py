"""`make soak`: the rows that take too long for `make test`, and the figures that are kept of them.

A row of tests/rows.yaml with `bounds` is one. Its tests write what they measured into the file that QHS_FIGURES names;
if all of them passed and every figure lies within its bounds, it is kept as tests/figures/<row>.json, to be committed.
A row whose figures are of this commit is not run again, so a soak that was ended goes on where it was.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from qhs import whole
from qhs.console import complain, progress
from qhs.folders import CLONE

FIGURES = CLONE / "tests" / "figures"

type Bounds = dict[str, tuple[float | None, float | None]]
"""The least and the most that a figure may be; None: without."""


def rows() -> dict[str, dict[str, Any]]:
    """The rows that have bounds, each with its tests."""
    told = yaml.safe_load((CLONE / "tests" / "rows.yaml").read_text())
    return {row: one for row, one in told.items() if isinstance(one, dict)}


def faults(bounds: Bounds, figures: dict[str, float]) -> list[str]:
    """What is missing or out of bounds; a figure without bounds would prove nothing, so it is a fault too."""
    found = [f"{name}: no bounds for it" for name in figures.keys() - bounds.keys()]
    for name, (least, most) in bounds.items():
        value = figures.get(name)
        if value is None:
            found.append(f"{name}: not measured")
        elif (least is not None and value < least) or (most is not None and value > most):
            found.append(f"{name}: found {value}, wanted {least} to {most}")
    return sorted(found)


def soak(row: str, tests: list[str], bounds: Bounds) -> bool:
    """Run the tests of a row; whether its figures could be kept."""
    started = time.monotonic()
    with TemporaryDirectory() as folder:
        told = Path(folder) / "figures.json"
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
        if subprocess.run(argv, cwd=CLONE, env=os.environ | {"QHS_FIGURES": str(told)}, check=False).returncode:
            return False
        figures = json.loads(told.read_text()) if told.is_file() else {}
    wrong = faults(bounds, figures)
    for fault in wrong:
        complain(f"{row}: {fault}")
    if not wrong:
        _keep(row, figures, time.monotonic() - started)
    return not wrong


def _keep(row: str, figures: dict[str, float], seconds: float) -> None:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    kept = {
        "row": row,
        "figures": figures,
        "seconds": round(seconds),
        "date": datetime.now(UTC).date().isoformat(),
        "commit": _commit(),
        "cores": os.cpu_count(),
        "memory_gb": round(memory / 1e9, 1),
    }
    FIGURES.mkdir(exist_ok=True)
    whole.write(FIGURES / f"{row}.json", json.dumps(kept, indent=1) + "\n")


def _commit() -> str:
    """HEAD, with a plus where the tree holds more than it."""
    git = ["git", "-C", str(CLONE)]
    head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], check=True, capture_output=True, text=True).stdout
    more = subprocess.run([*git, "status", "--porcelain"], check=True, capture_output=True, text=True).stdout
    return head.strip() + ("+" if [line for line in more.splitlines() if "tests/figures/" not in line] else "")


def _done(row: str) -> bool:
    path = FIGURES / f"{row}.json"
    commit = _commit()
    return path.is_file() and not commit.endswith("+") and json.loads(path.read_text())["commit"] == commit


def main(wanted: list[str]) -> int:
    """Soak these rows, or all that have no figures of this commit. 1: no such row; 2: one of them failed."""
    known = rows()
    if unknown := [row for row in wanted if row not in known]:
        complain(f"rows {', '.join(unknown)} are not soaked\n  way out: take one of {', '.join(known)}")
        return 1
    due = wanted or [row for row in known if not _done(row)]
    failed = []
    for number, row in enumerate(due, 1):
        progress(f"soak {number} of {len(due)}: {row}")
        if not soak(row, known[row]["tests"], known[row]["bounds"]):
            failed.append(row)
    progress(f"soak: {len(due) - len(failed)} of {len(due)} rows have their figures")
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
