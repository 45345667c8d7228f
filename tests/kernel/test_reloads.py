"""T-F07 in small; tests/soak has the full count."""

from __future__ import annotations

from pathlib import Path

from tests.kernel.reloads import STREAMS, measured


def test_reloads_reset_no_stream_and_let_nothing_pass_that_all_of_them_deny(tmp_path: Path) -> None:
    found = measured(tmp_path, 10)
    assert found["streams alive"] == STREAMS, found
    assert found["resets"] == found["denied packets that passed"] == 0, found
    assert found["denied packets that came"] > 1000, found
