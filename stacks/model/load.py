"""Reads catalogue and inventory into an estate; refuses what cannot be right, with file and line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from stacks.model import checks
from stacks.model.catalogue import Catalogue
from stacks.model.estate import Estate
from stacks.model.inventory import Environment
from stacks.model.source import REPO, ModelError, Source

CATALOGUE = REPO / "stacks" / "catalogue"
INVENTORIES = REPO / "inventories"


def load(environment: str, now: datetime | None = None) -> Estate:
    """The estate of `twin` or `prod`. Raises ModelError with every finding; `now` is for tests."""
    return read(CATALOGUE, INVENTORIES / environment / "estate.yaml", now or datetime.now(UTC))


def read(catalogue: Path, inventory: Path, now: datetime) -> Estate:
    """The estate of a catalogue folder and an inventory file, as seen at `now`."""
    sources = {name: Source(catalogue / f"{name}.yaml") for name in Catalogue.model_fields}
    merged = Source.join(sources)
    inventory_source = Source(inventory)
    estate = Estate(merged.parse(Catalogue), inventory_source.parse(Environment))
    findings = list(checks.run(estate, merged, inventory_source, now))
    if findings:
        raise ModelError(findings)
    return estate
