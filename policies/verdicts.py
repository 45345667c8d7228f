"""What a rule answers, and the report of a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """Undecided is never a pass: a value that the rule needs is not known yet."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    VIOLATION = "violation"
    UNDECIDED = "undecided"
    WAIVED = "waived"
    """A violation that somebody has accepted: for a while, or by the baseline's own word."""
    LIMIT = "limit"
    """A violation that lies in what the environment cannot do; its inventory says what stands in for it."""


@dataclass(frozen=True)
class Fault:
    """What a rule holds against a subject, and how to put it right."""

    found: str
    wanted: str
    fix: str
    limit: str = ""
    """The limit of an environment that explains it, where one may."""
    waiver: str = ""
    """Why the baseline itself accepts it."""


@dataclass(frozen=True)
class Verdict:
    """The answer of one control about one subject of one resource."""

    outcome: Outcome
    control: str
    urn: str
    subject: str
    found: str = ""
    wanted: str = ""
    fix: str = ""
    waiver: str = ""
    limit: str = ""

    def __str__(self) -> str:
        subject = f"{self.subject}: " if self.subject else ""
        if self.outcome is Outcome.UNDECIDED:
            return f"{self.control} {self.urn}: {subject}undecided, {self.found} is not known yet"
        ends = {Outcome.WAIVED: f"waived {self.waiver}", Outcome.LIMIT: f"limit {self.limit}"}
        end = ends.get(self.outcome, f"fix: {self.fix}")
        return f"{self.control} {self.urn}: {subject}found {self.found}; wanted {self.wanted}; {end}"


@dataclass(frozen=True)
class Crash:
    """A rule that raised. The run has failed, whatever the other verdicts are."""

    control: str
    rule: str
    urn: str
    error: str

    def __str__(self) -> str:
        return f"{self.control} {self.urn}: rule {self.rule} raised {self.error}; fix the rule, nothing was judged"


@dataclass(frozen=True)
class Report:
    """All verdicts of a run, passes too, so that every count has its denominator."""

    verdicts: tuple[Verdict, ...] = ()
    crashes: tuple[Crash, ...] = ()

    def of(self, outcome: Outcome) -> tuple[Verdict, ...]:
        """The verdicts of one outcome."""
        return tuple(one for one in self.verdicts if one.outcome == outcome)

    @property
    def clean(self) -> bool:
        """Every subject was decided and passed."""
        return not self.crashes and all(one.outcome is Outcome.PASS for one in self.verdicts)
