"""What the engine's plain output says: whether the policies judged, what they report, and its warnings and errors."""

from __future__ import annotations

import re
from dataclasses import dataclass

from policies.verdicts import Outcome

PACK = "baseline"

_SECTION = re.compile(r"^Policies:\n((?: +\S.*\n?)+)", re.MULTILINE)
_PACK = re.compile(rf"^ {{4}}\S+ {PACK}@", re.MULTILINE)
# A remark's first line, the description of its policy, its message.
_REMARK = re.compile(r"^ {8}- \[(?P<level>\w+)\] +(?P<policy>\S+) .*\n {10}.*\n(?P<text>(?: {10}.*\n?)+)", re.MULTILINE)
_DIAGNOSTIC = re.compile(r"^ {4}(?P<level>warning|error): (?P<text>.+)$", re.MULTILINE)
# What the engine adds because a policy refused.
_REFUSAL = {"preview failed", "update failed"}


@dataclass(frozen=True)
class Remark:
    """What a policy reports."""

    level: str
    policy: str
    text: str


@dataclass(frozen=True)
class Said:
    """The end of a preview or an update; of an update that follows its preview, the update's."""

    judged: bool
    """The policy pack ran. Where it did not, that nothing is reported means nothing."""
    remarks: tuple[Remark, ...]
    warnings: tuple[str, ...]
    errors: tuple[str, ...]
    """Other than that a policy refused."""

    @property
    def refused(self) -> bool:
        """A policy says no, and nothing else went wrong."""
        return any(one.level == "mandatory" for one in self.remarks) and not self.errors

    @property
    def undecided(self) -> bool:
        """Some value that a policy needs is not known yet."""
        return any(one.policy == Outcome.UNDECIDED for one in self.remarks)

    @property
    def texts(self) -> list[str]:
        """Everything that an operator should read, each once."""
        return list(dict.fromkeys([*(one.text for one in self.remarks), *self.warnings]))


def heard(output: str) -> Said:
    """Read what a run of the engine printed on standard output."""
    sections = _SECTION.findall(output)
    section = sections[-1] if sections else ""
    found: dict[str, list[str]] = {"warning": [], "error": []}
    for one in _DIAGNOSTIC.finditer(output):
        found[one["level"]].append(one["text"])
    return Said(
        judged=bool(_PACK.search(section)),
        remarks=tuple(Remark(one["level"], one["policy"], _flush(one["text"])) for one in _REMARK.finditer(section)),
        warnings=tuple(dict.fromkeys(found["warning"])),
        errors=tuple(one for one in found["error"] if one not in _REFUSAL),
    )


def _flush(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())
