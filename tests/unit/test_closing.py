"""The report of `qhs up` times what it does, and its closing table shows all of it."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from rich.console import Console

from qhs import closing, image, tools
from qhs import up as ups
from qhs.image import Image
from qhs.progress import silent
from qhs.tools import Tool
from qhs.up import Report


def shown(report: Report) -> list[str]:
    console = Console(width=140)
    with console.capture() as capture:
        console.print(closing.table(report))
    return [" ".join(line.replace("│", " ").replace("┃", " ").split()) for line in capture.get().splitlines()]


def test_every_count_and_phase_is_in_the_table() -> None:
    report = Report(
        "twin",
        seconds={"tools and image": 640.24, "machines": 9.0, "in all": 700.0},
        changes=11,
        machines=4,
        segments=7,
        flows=31,
        rules=211,
        stacks={"one": 12, "another": 7},
        probes=55,
        disagreements=["a", "b"],
    )
    lines = shown(report)
    assert "machines segments flows rules resources packets disagree changes" in lines
    assert "4 7 31 211 19 55 2 11" in lines
    for row in ("tools and image 640.2", "machines 9.0", "in all 700.0"):
        assert row in lines
    for command, what in closing.NEXT:
        assert f"{command} {what}" in lines


def test_a_phase_is_timed() -> None:
    report = Report("twin")
    with report.phase("a nap"):
        time.sleep(0.2)
    assert 0.2 <= report.seconds["a nap"] < 2


def test_what_is_kept_is_the_report(tmp_path: Path) -> None:
    report = Report("twin", seconds={"in all": 1.0}, machines=4)
    report.write(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == asdict(report)


@pytest.mark.parametrize("how", ["built", "cached"])
def test_a_build_has_a_row_of_its_own(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was built, in this run, and nothing that was found."""
    engine = Tool("engine", {}, "3.0", "built" if how == "built" else "cache", 540.04)
    machine = Image(Path("/nowhere"), "key", "built" if how == "built" else "cached", 61.26)
    monkeypatch.setattr(tools, "ensure", lambda names, _: dict.fromkeys(names, engine))
    monkeypatch.setattr(image, "ensure", lambda _: machine)
    report = Report("twin")
    ups._build(report, silent)
    rows = [line for line in shown(report) if line.startswith("build of")]
    assert rows == (["build of engine 540.0", "build of image 61.3"] if how == "built" else [])
