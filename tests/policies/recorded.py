"""The real plan of a stack: its program runs, and what it registers is what the engine would show to a policy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockMonitor

from policies.facts import Raw
from stacks import cloud, network, replica, signing
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
    estate = load(environment, NOW)
    signing_of = StackName(environment, site, "signing")
    return [
        *recorded_network(environment, site),
        *_recorded(signing_of, lambda: signing.declare(estate, site, certificates)),
        *_replica(environment, site).raws.values(),
        *recorded_cloud(environment, site),
    ]


def asked_replica(environment: str, site: str) -> list[Any]:
    """What the engine is asked to register of what exists once for the estate, from the real catalogue."""
    return _replica(environment, site).requests


def _replica(environment: str, site: str) -> _Recorder:
    estate = load(environment, NOW)
    return _ran(StackName(environment, None, SITELESS), lambda: replica.declare(estate, site))


def recorded_network(environment: str, site: str) -> list[Raw]:
    """Every resource of the network of a site, from the real catalogue."""
    return _recorded(StackName(environment, site, "network"), lambda: network.declare(load(environment, NOW), site))


def recorded_cloud(environment: str, site: str) -> list[Raw]:
    """Every resource of the cluster of a site, from the real catalogue."""
    return _recorded(
        StackName(environment, site, "cloud"), lambda: cloud.declare(load(environment, NOW), site, None, NOW.date())
    )


def _recorded(stack: StackName, declare: Callable[[], None]) -> list[Raw]:
    return list(_ran(stack, declare).raws.values())


def _ran(stack: StackName, declare: Callable[[], None]) -> _Recorder:
    recorder = _Recorder()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)  # the SDK asks for the thread's own, which an earlier test may have closed
    try:
        pulumi.runtime.set_mocks(
            _Echo(), "qhs", str(stack), preview=True, monitor=recorder, organization="organization"
        )
        pulumi.runtime.test(declare)()
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    return recorder
