"""The real plan of a stack: its program runs, and what it registers is what the engine would show to a policy."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pulumi
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockMonitor

from policies.facts import Raw
from stacks import network
from stacks.model import load

NOW = datetime(2026, 11, 25, tzinfo=UTC)


class _Echo(pulumi.runtime.Mocks):
    """A provider that answers with what it was given, as a preview does."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        return args.name, args.inputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        raise AssertionError(f"the program calls {args.token}")


class _Recorder(MockMonitor):
    """Keeps of each resource what a policy is shown: of a component only what it has registered as its outputs."""

    def __init__(self) -> None:
        super().__init__(_Echo())
        self.raws: dict[str, Raw] = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the name of the call
        answer = super().RegisterResource(request)
        props = rpc.deserialize_properties(request.object) if request.custom else {}
        self.raws[answer.urn] = Raw(answer.urn, request.type, request.name, request.parent or None, props)
        return answer

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802 - the name of the call
        self.raws[request.urn].props.update(rpc.deserialize_properties(request.outputs))
        return super().RegisterResourceOutputs(request)


def recorded(environment: str, site: str) -> list[Raw]:
    """Every resource of a site's network, from the real catalogue."""
    estate = load(environment, NOW)
    recorder = _Recorder()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)  # the SDK asks for the thread's own, which an earlier test may have closed
    try:
        pulumi.runtime.set_mocks(_Echo(), "qhs", f"{environment}.{site}.network", preview=True, monitor=recorder)
        pulumi.runtime.test(lambda: network.declare(estate, site))()
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    return list(recorder.raws.values())
