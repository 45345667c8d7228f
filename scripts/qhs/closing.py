"""The closing table of `qhs up`."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from qhs.up import Report

NEXT = (
    ("qhs shell", "a shell where plain pulumi, ansible and ssh work on the estate"),
    ("qhs net prove", "allow or deny for every cell, on paper"),
    ("qhs net probe --sample", "the same with real packets"),
    ("qhs net map", "the network as a picture"),
    ("qhs down", "take it all away"),
)


def table(report: Report) -> Group:
    """What stands now, how long each phase took, and what to try."""
    stands = Table("machines", "segments", "flows", "rules", "resources", "packets", "disagree", "changes")
    counts = (report.machines, report.segments, report.flows, report.rules, report.resources, report.probes)
    stands.add_row(*map(str, counts), str(len(report.disagreements)), str(report.changes))
    phases = Table("phase", "seconds")
    phases.columns[1].justify = "right"
    for name, seconds in report.seconds.items():
        phases.add_row(name, f"{seconds:.1f}")
    hints = Table.grid(padding=(0, 2))
    for command, what in NEXT:
        hints.add_row(command, what)
    return Group(stands, phases, *map(Text, report.limits), "what to try next:", hints)
