"""T-F07 in full."""

from __future__ import annotations

from pathlib import Path

from tests.kernel.reloads import measured


def test_a_hundred_reloads_reset_no_stream(tmp_path: Path, figures: dict[str, float]) -> None:
    figures.update(measured(tmp_path, 100))
