"""The baseline: what must hold for whatever is built. Typed and linted; thresholds stand here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from policies.baseline.cis import Check, CheckId
from stacks.model.catalogue import DemandId, Strict
from stacks.model.source import Finding, ModelError, Source

FOLDER: Final = Path(__file__).parent
LONGEST_WAIVER: Final = timedelta(days=90)

ControlId = Annotated[str, StringConstraints(pattern=r"^C-[A-Z0-9]+-\d{2}$")]
Key = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]+$")]
Text = Annotated[str, StringConstraints(min_length=1)]
Layer = Literal["network", "hosts", "signing", "cloud", "replica", "drills", "records"]


class Law(Strict):
    """A source of controls. `unknown`: nobody has verified that it applies today."""

    title: Text
    kind: Literal["law", "decree", "circular", "decision", "resolution", "standard", "practice", "design"]
    status: Literal["in-force", "unknown", "own"]
    since: date | None = None
    replaces: str | None = None
    note: str | None = None

    @model_validator(mode="after")
    def _own(self) -> Self:
        if (self.kind == "design") != (self.status == "own"):
            raise ValueError("status own with kind design, and not otherwise")
        return self


class Demand(Strict):
    """What a text of the Assembly asks of the infrastructure, in our words."""

    text: Text
    layer: Layer | Literal["baseline"] = Field(description="what serves it")


class Control(Strict):
    """One requirement that can be checked."""

    requirement: Text
    sources: list[Key] = Field(min_length=1, description="keys of sources.yaml")
    checks: list[Literal["plan", "host", "net", "cluster", "hsm", "live", "doc"]] = Field(min_length=1)
    evidence: Literal["seen", "memory", "design"] = Field(description="how well we know the requirement")
    rules: list[Key] = Field([], description="names in the registry of rules that judge it")
    wire: list[Literal["prove", "probe"]] = Field([], description="commands of `qhs net` that judge it by packets")
    bench: list[Literal["sign"]] = Field([], description="commands of `qhs bench` that judge it by what they measure")
    later: Layer | None = Field(None, description="the layer that will judge it, or what rules leave of it")
    thresholds: dict[str, Any] = Field({}, description="checked by the rule or the command that reads them")

    @model_validator(mode="after")
    def _judged(self) -> Self:
        if not (self.rules or self.later):
            raise ValueError("rules, or the layer that will judge it")
        if self.thresholds and not (self.rules or self.bench):
            raise ValueError("thresholds only where a rule or `qhs bench` reads them")
        return self


class Waiver(Strict):
    """A fault that is accepted for a while, by somebody, for a reason."""

    control: ControlId
    target: Annotated[str, StringConstraints(pattern=r"^urn:(pulumi|qhs):[^:]+::")] = Field(
        description="URN of a resource or a machine"
    )
    subject: str = Field("", description="what of the resource, as the verdict names it; empty: the resource itself")
    owner: Key
    reason: Text
    granted: date
    expires: date

    @model_validator(mode="after")
    def _short(self) -> Self:
        if not self.granted < self.expires <= self.granted + LONGEST_WAIVER:
            raise ValueError(f"expires within {LONGEST_WAIVER.days} days of granted")
        return self

    @property
    def waives(self) -> tuple[str, str, str]:
        """Control, URN and subject of the one fault that it accepts."""
        return self.control, self.target, self.subject

    @property
    def stack(self) -> str:
        """How every URN of the stack begins in which it waives something."""
        return self.target.partition("::")[0]


class Version(Strict):
    """An edition of the Assembly's architecture that the baseline follows."""

    status: Literal["current", "coming", "past"]
    title: Text


class Baseline(Strict):
    """Everything in this folder."""

    controls: dict[ControlId, Control]
    sources: dict[Key, Law]
    waivers: list[Waiver]
    versions: dict[str, Version]
    demands: dict[DemandId, Demand]
    cis: dict[CheckId, Check]

    @cached_property
    def ids(self) -> frozenset[str]:
        """Everything that can be cited."""
        return frozenset(self.demands) | self.controls.keys()

    def thresholds(self, control: str) -> Mapping[str, Any]:
        """The thresholds of a control. Raises KeyError for one that is not in the baseline."""
        return self.controls[control].thresholds


def load(folder: Path = FOLDER, today: date | None = None) -> Baseline:
    """Read and lint a baseline as of `today` (UTC). Raises ModelError with file and line of every finding."""
    files = Source.join({name: Source(folder / f"{name}.yaml") for name in Baseline.model_fields})
    baseline = files.parse(Baseline)
    findings = [*_unknown_sources(baseline, files), *_void_waivers(baseline, files, today or datetime.now(UTC).date())]
    if findings:
        raise ModelError(findings)
    return baseline


def _unknown_sources(baseline: Baseline, files: Source) -> Iterator[Finding]:
    for name, control in baseline.controls.items():
        for position, source in enumerate(control.sources):
            if source not in baseline.sources:
                where = files.at("controls", name, "sources", position)
                yield Finding(where, f"source {source}", "a key of sources.yaml")
    for name in baseline.sources.keys() - {source for one in baseline.controls.values() for source in one.sources}:
        yield Finding(files.at("sources", name), f"source {name}, which no control cites", "a control that does")


def _void_waivers(baseline: Baseline, files: Source, today: date) -> Iterator[Finding]:
    for position, waiver in enumerate(baseline.waivers):
        at = partial(files.at, "waivers", position)
        control = baseline.controls.get(waiver.control)
        if control is None:
            yield Finding(at("control"), f"control {waiver.control}", "a key of controls.yaml")
        elif not control.rules:
            yield Finding(at("control"), f"control {waiver.control}, which no rule judges", "one that has rules")
        if waiver.granted > today:
            yield Finding(at("granted"), f"granted {waiver.granted}", f"today, {today}, or earlier")
        if waiver.expires <= today:
            found = f"expired {waiver.expires}, owner {waiver.owner}"
            yield Finding(at("expires"), found, "the fault mended, or a new decision of the owner")
