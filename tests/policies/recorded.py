"""The real plan of a stack: its program runs, and what it registers is what the engine would show to a policy."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockMonitor

from policies.facts import Raw
from stacks import cloud, network, replica, signing
from stacks.components.frozen import Freezes
from stacks.model import load
from stacks.name import SITELESS, StackName
from stacks.provider.__main__ import KINDS
from stacks.provider.data.resources import Database
from stacks.provider.secret.resources import TransitKey
from stacks.provider.settings import Settings
from stacks.provider.signing.resources import Key

SHOWN = (Database.TYPE, Key.TYPE, TransitKey.TYPE)
"""Kinds of which rules judge outputs."""
NOW = datetime(2026, 11, 25, tzinfo=UTC)


class _Echo(pulumi.runtime.Mocks):
    """A provider that answers with what it was given, as a preview does."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        outputs = KINDS[args.typ](Settings()).outputs("", args.inputs) if args.typ in SHOWN else {}
        return args.name, {**args.inputs, **outputs}

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        raise AssertionError(f"the program calls {args.token}")


class _Recorder(MockMonitor):
    """Keeps of each resource what a policy is shown: of a component only what it has registered as its outputs."""

    def __init__(self) -> None:
        super().__init__(_Echo())
        self.raws: dict[str, Raw] = {}
        self.requests: list[Any] = []

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the name of the call
        answer = super().RegisterResource(request)
        self.requests.append(request)
        props = rpc.deserialize_properties(answer.object) if request.custom else {}
        self.raws[answer.urn] = Raw(answer.urn, request.type, request.name, request.parent or None, props)
        return answer

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the name of the call
        self.raws[request.urn].props.update(rpc.deserialize_properties(request.outputs))
        return super().RegisterResourceOutputs(request)


def recorded(environment: str, site: str, certificates: Path) -> list[Raw]:
    """Every resource of a site, from the real catalogue, once certificates have come back."""
    layers = ("network", "signing", SITELESS, "cloud")
    return [raw for layer in layers for raw in _ran(environment, site, layer, certificates).raws.values()]


def asked(environment: str, site: str, layer: str) -> list[Any]:
    """What the engine is asked to register of a layer, from the real catalogue: its messages, with all options."""
    return _ran(environment, site, layer).requests


def recorded_network(environment: str, site: str) -> list[Raw]:
    """Every resource of the network of a site, from the real catalogue."""
    return list(_ran(environment, site, "network").raws.values())


def recorded_cloud(environment: str, site: str) -> list[Raw]:
    """Every resource of the cluster of a site, from the real catalogue."""
    return list(_ran(environment, site, "cloud").raws.values())


def _ran(environment: str, site: str, layer: str, certificates: Path | None = None) -> _Recorder:
    estate = load(environment, NOW)
    freezes = Freezes(estate.catalogue.tenants, NOW.date(), None)
    declares = {
        "network": lambda: network.declare(estate, site),
        "signing": lambda: signing.declare(estate, site, certificates, freezes),
        SITELESS: lambda: replica.declare(estate, site, freezes),
        "cloud": lambda: cloud.declare(estate, site, freezes),
    }
    stack, recorder = StackName(environment, None if layer == SITELESS else site, layer), _Recorder()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)  # the SDK asks for the thread's own, which an earlier test may have closed
    try:
        pulumi.runtime.set_mocks(
            _Echo(), "qhs", str(stack), preview=True, monitor=recorder, organization="organization"
        )
        pulumi.runtime.test(declares[layer])()
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    return recorder
