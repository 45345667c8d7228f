"""Which expiries are new: one that has passed is a fact, one that is written down in the past is a mistake."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import yaml

from stacks.model.estate import Estate
from stacks.model.source import Finding, Source


def refused(estate: Estate, source: Source, now: datetime) -> Iterator[Finding]:
    """Expiries in the past that the last commit does not have."""
    past = {n: f for n, f in estate.catalogue.flows.items() if f.expires is not None and f.expired(now)}
    committed = _committed_expiries(source.path) if past else None
    if committed is None:  # nothing to compare with (an unpacked archive): then what has passed is a fact
        return
    for name, flow in past.items():
        if committed.get(name) != flow.expires:
            at = source.at("flows", name, "expires")
            yield Finding(at, f"flow {name} expires on {flow.expires:%d/%m/%Y %H:%M} UTC, in the past", "a later one")


def _committed_expiries(catalogue: Path) -> dict[str, datetime] | None:
    """The expiries that the last commit has; None where there is no commit to ask."""
    if _git(catalogue, "rev-parse", "--verify", "HEAD") is None:
        return None
    flows = yaml.safe_load(_git(catalogue, "show", "HEAD:./flows.yaml") or "") or {}
    return {name: _utc(flow["expires"]) for name, flow in flows.items() if "expires" in flow}


def _git(folder: Path, *words: str) -> str | None:
    """What git prints; None where it fails or is not installed."""
    command = ["git", "-C", str(folder), *words]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return shown.stdout if shown.returncode == 0 else None


def _utc(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)
