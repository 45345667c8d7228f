"""A report of a drill as one page, for people: nothing of it lies anywhere else."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from qhs.drill import timeline
from qhs.drill.seal import Sealed

TEMPLATE = Path(__file__).with_name("page.html.j2")


def page(sealed: Sealed) -> str:
    """The same report gives the same bytes."""
    made = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    report = sealed.report
    drawn = {
        kind: {name: Markup(draw(report, width)) for name, width in WIDTHS.items()}  # noqa: S704 - Picture escapes
        for kind, draw in (("steps", timeline.steps), ("phases", timeline.phases))
    }
    return made.from_string(TEMPLATE.read_text(encoding="utf-8")).render(report=report, seal=sealed.seal, drawn=drawn)


WIDTHS = {"wide": timeline.WIDE, "narrow": timeline.NARROW}
