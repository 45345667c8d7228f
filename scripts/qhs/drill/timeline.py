"""The timelines of a drill's page: how long each step took, and what the time without writes is made of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from qhs.drill.report import DrillReport, StepReport
from qhs.net.map.svg import Picture

WIDE, NARROW = 1180, 350
"""Pixels: of a page of 1280 and of 390."""
ROW, BAR, TOP, MARGIN = 34, 12, 26, 4
LETTER = 6.2
"""Pixels of one at the usual size."""
GREY, LINE = "#52616e", "#dde3e8"
COLOURS = {"done": "#2f7d4f", "failed": "#b3261e", "begun": "#b3261e", "not begun": "#c4ccd3"}
UNDONE = "#b26a00"
PHASES = {
    "detect": ("#5b4b8a", "phát hiện", "detect"),
    "decide": ("#8a4b7f", "quyết định", "decide"),
    "fence": ("#b3261e", "cô lập", "fence"),
    "promote": ("#b26a00", "đưa lên", "promote"),
    "redirect": ("#1f6f8b", "chuyển hướng", "redirect"),
    "first-write": ("#2f7d4f", "ghi đầu tiên", "first write"),
}


def steps(report: DrillReport, width: int) -> str:
    """A bar a step, from the beginning of the drill to its end."""
    picture = Picture(width)
    began, span = report.began, max(1.0, (report.ended - report.began).total_seconds())

    def x(moment: datetime) -> int:
        return MARGIN + round((moment - began).total_seconds() / span * (width - 2 * MARGIN))

    bottom = TOP + ROW * len(report.steps)
    for second in _ticks(span, width):
        at = MARGIN + round(second / span * (width - 2 * MARGIN))
        picture.line((at, TOP - 8), (at, bottom), LINE)
        picture.text(min(at + 2, width - 34), TOP - 12, f"{second} s", size=10, fill=GREY)
    if gap := report.written.gap:
        left, right = x(max(gap.after, began)), x(min(gap.until, report.ended))
        picture.rect(
            (left, TOP - 6), (max(2, right - left), bottom - TOP + 6), "#fdecea", note="không ghi được / no writes"
        )
    for number, step in enumerate(report.steps):
        _bar(picture, step, TOP + ROW * number, x)
    return picture.finish(bottom + 6, f"{report.title.vi} / {report.title.en}")


def phases(report: DrillReport, width: int) -> str:
    """The time without writes, cut into its phases, as wide as each was long; names below, with seconds."""
    picture = Picture(width)
    span = max(0.001, sum(one.seconds for one in report.phases))
    left = float(MARGIN)
    for one in report.phases:
        colour, vi, en = PHASES[one.name]
        size = one.seconds / span * (width - 2 * MARGIN)
        picture.rect((round(left), 4), (max(1, round(size) - 1), 24), colour, note=f"{vi} / {en}: {one.seconds} s")
        left += size
    columns = 6 if width == WIDE else 2
    for number, one in enumerate(report.phases):
        colour, vi, en = PHASES[one.name]
        at = MARGIN + number % columns * (width // columns), 46 + number // columns * 32
        picture.rect((at[0], at[1] - 9), (10, 10), colour)
        picture.text(at[0] + 15, at[1], f"{vi} / {en}")
        picture.text(at[0] + 15, at[1] + 14, f"{one.seconds:.3f} s", fill=GREY)
    return picture.finish(50 + -(-len(report.phases) // columns) * 32, "thời gian không ghi được / time without writes")


def _bar(picture: Picture, step: StepReport, y: int, x: Callable[[datetime], int]) -> None:
    colour = UNDONE if step.undone else COLOURS[step.state]
    words = f"{step.title.vi} / {step.title.en}"
    if step.began is None:
        picture.text(MARGIN, y + 10, _fitting(words, picture.width), fill=GREY)
        return
    left, right = x(step.began), x(step.ended or step.began)
    seconds = f" · {(step.ended - step.began).total_seconds():.1f} s" if step.ended else ""
    picture.text(MARGIN, y + 10, _fitting(words, picture.width - round(LETTER * len(seconds))) + seconds)
    picture.rect((left, y + 14), (max(3, right - left), BAR), colour, note=f"{words}{seconds}")


def _fitting(words: str, width: int) -> str:
    room = int((width - 2 * MARGIN) / LETTER)
    return words if len(words) <= room else words[: room - 1] + "…"


def _ticks(span: float, width: int) -> list[int]:
    """Round seconds, as many as there is room for."""
    room = max(2, width // 90)
    step = next(one for one in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 86400) if span / one <= room)
    return [*range(0, int(span) + 1, step)]
