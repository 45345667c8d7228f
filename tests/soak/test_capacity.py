"""T-E14: how many signatures a second a centre makes, and within which time, beside what the baseline wants."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qhs.bench.sign import CLIENTS, DOCUMENTS, FORMS
from tests.engine.clone_copy import CloneCopy


def test_a_centre_copes_with_the_peak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figures: dict[str, float]
) -> None:
    monkeypatch.setenv("QHS_TWIN", "soak")
    clone = CloneCopy.make(tmp_path / "clone")
    try:
        assert clone.qhs("up").returncode == 0
        done = clone.qhs("bench", "sign", "--json")
    finally:
        clone.qhs("down")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for one in found["measured"]:
        figures[f"{one['what']}, {one['clients']} clients, a second"] = one["rate"]
        if one["what"] in FORMS:
            figures[f"{one['what']}, {one['clients']} clients, p95 ms"] = one["p95_ms"]
    device, raw = (figures[f"{what}, 8 clients, a second"] for what in ("device", "raw"))
    figures["raw of the device, 8 clients, percent"] = round(100 * raw / device, 1)
    wanted = found["wanted"]["users"] / found["wanted"]["within_seconds"]
    asked = figures[f"{DOCUMENTS}, {CLIENTS[-1]} clients, a second"]
    figures["times what the baseline wants"] = round(asked / wanted, 1)
