"""The prover reads catalogue and inventory for itself: a fault in what rules are made from turns it red."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from qhs.net import prove as proving
from qhs.net.prove.kernel import missing
from qhs.net.prove.plan import prove_plan
from stacks.model import Estate, addresses
from stacks.model.estate import EVERYWHERE, MANAGEMENT_PORTS

NOW = datetime(2026, 12, 1, tzinfo=UTC)
needs_nft = pytest.mark.skipif(missing() is not None, reason=f"rulesets cannot be loaded: {missing()}")
type Method = Callable[..., Any]

MUTANTS: dict[str, tuple[str, Callable[[Method], Method]]] = {
    "flows of one site between sites": (
        "_in_scope",
        lambda real: lambda own, flow, *ends: real(own, flow.model_copy(update={"scope": "any"}), *ends),
    ),
    "flows between sites at one site": (
        "_in_scope",
        lambda real: lambda own, flow, *ends: real(own, flow.model_copy(update={"scope": "site"}), *ends),
    ),
    "a flow's sites forgotten": (
        "_in_scope",
        lambda real: lambda own, flow, *ends: real(own, flow.model_copy(update={"sites": None}), *ends),
    ),
    "whereto a flow leads forgotten": (
        "_in_scope",
        lambda real: lambda own, flow, *ends: real(own, flow.model_copy(update={"into": None}), *ends),
    ),
    "nothing from outside": (
        "_in_scope",
        lambda real: lambda own, flow, source, target: bool(source.site) and real(own, flow, source, target),
    ),
    "the whole place for one address": (
        "_targets",
        lambda real: (
            lambda own, service, place: (
                (place.prefix,) if service.on == "address" and place.prefix != EVERYWHERE else real(own, service, place)
            )
        ),
    ),
    "the next address": (
        "_targets",
        lambda real: (
            lambda own, service, place: real(
                own, service.model_copy(update={"number": service.number and service.number + 1}), place
            )
        ),
    ),
    "every machine of the place, whatever its role": (
        "_targets",
        lambda real: (
            lambda own, service, place: (
                tuple(
                    port.address for one in own.machines.values() for port in one.interfaces if port.place == place.name
                )
                if service.on == "machines"
                else real(own, service, place)
            )
        ),
    ),
    "a service in a place less": (
        "_targets",
        lambda real: lambda own, service, place: () if place.zone == "data" else real(own, service, place),
    ),
    "a zone at its first site alone": (
        "named",
        lambda real: lambda own, *names: (one for one in real(own, *names) if one.site in (None, "qhdc")),
    ),
    "managed from anywhere on the wire": (
        "managers",
        lambda _real: lambda own, site: (own.places[f"{site}.{MANAGEMENT_PORTS}"].prefix,),
    ),
    "managed from another address": (
        "managers",
        lambda _real: lambda own, site: (addresses.host(own.places[f"{site}.{MANAGEMENT_PORTS}"].prefix, 9),),
    ),
}


def fresh(estate: Estate) -> Estate:
    """The same with nothing derived yet, and one flow that is bound to sites."""
    flows = estate.catalogue.flows
    bound = flows["user-to-ingress"].model_copy(update={"sites": ["ndc"]})
    catalogue = estate.catalogue.model_copy(update={"flows": {**flows, "user-to-ingress": bound}})
    return replace(estate, catalogue=catalogue)


@needs_nft
@pytest.mark.parametrize("name", MUTANTS)
def test_a_fault_in_what_rules_are_made_from_is_seen(
    name: str, estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, change = MUTANTS[name]
    monkeypatch.setattr(Estate, method, change(getattr(Estate, method)))
    assert prove_plan(fresh(estate), NOW).code == 2


@needs_nft
def test_without_a_fault_it_is_green(estate: Estate) -> None:
    assert prove_plan(fresh(estate), NOW).code == 0


FOLDER = Path(proving.__file__).parent
MAKERS = ("stacks.model.rules", "stacks.provider")
# Of an estate: what it was read from, and the address plan. All else of it is what rules are made from.
GIVEN = {"catalogue", "inventory", "places", "machines"}


@pytest.mark.parametrize("name", sorted({path.name for path in FOLDER.glob("*.py")} - {"plan.py"}))
def test_the_prover_shares_no_code_with_what_makes_rules(name: str) -> None:
    """Only `plan.py`, which hands it the planned text, knows a ruleset's maker."""
    tree = list(ast.walk(ast.parse((FOLDER / name).read_text(encoding="utf-8"))))
    imported = {name for node in tree for name in _imported(node)}
    assert {name for name in imported for maker in MAKERS if name == maker or name.startswith(f"{maker}.")} == set()
    assert {node.attr for node in tree if isinstance(node, ast.Attribute) and _is_estate(node.value)} <= GIVEN


def _is_estate(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "estate"


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [one.name for one in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
