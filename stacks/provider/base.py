"""The plugin's frame: one handler a kind of resource, the engine's requests in between.

Nothing here or in a handler connects to anything in `configure`, `check` or `diff`, so a preview needs no endpoint.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pulumi.provider.experimental import provider as api
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.provider.experimental.provider import CheckFailure, PropertyDiff, PropertyDiffKind

from stacks.provider.inputs import Plain
from stacks.provider.settings import ProviderError, Settings
from stacks.provider.values import UNKNOWN, differences, has_unknown, marshalled, plain


@dataclass(frozen=True)
class Checked:
    """Inputs in their normal form, or why they cannot be right."""

    inputs: Plain
    failures: dict[str, str] = field(default_factory=dict)
    """By property path."""


@dataclass(frozen=True)
class Standing:
    """One thing of a kind that stands somewhere, whether or not a stack declares it."""

    key: str
    urn: str | None
    """Of the resource that wrote it last; none where no resource did."""
    properties: Plain


class Handler(ABC):
    """One kind of resource. Its id is a natural key, so create is an upsert and nothing is ever made twice.

    So two resources can stand for one thing, while one of them takes over from the other. Where that can be, what is
    written names its URN, and `remove` leaves alone what is another's by now.
    """

    NAMED: ClassVar[str]
    """The input that says which thing it is: where another is named, the resource is replaced."""
    TOLD: ClassVar[frozenset[str]] = frozenset()
    """Outputs that nobody knows before it is written: `write` and `read` tell them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def check(self, inputs: Plain) -> Checked:
        """Validate and normalise. No network."""

    @abstractmethod
    def key(self, inputs: Plain) -> str:
        """The natural key."""

    @abstractmethod
    def outputs(self, urn: str, inputs: Plain) -> Plain:
        """What the resource shows beside its inputs once it is as wanted. No network."""

    @abstractmethod
    def write(self, urn: str, inputs: Plain) -> Plain | None:
        """Make it so, whatever was there before; the outputs that are otherwise than `outputs` says, and those of
        `TOLD`. Raises ProviderError."""

    @abstractmethod
    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        """Inputs and outputs as they really are, in normal form; None where it is gone. Raises ProviderError."""

    @abstractmethod
    def list(self) -> list[Standing]:
        """All of this kind that stands, declared or not. Raises ProviderError where it cannot see all of it."""

    @abstractmethod
    def remove(self, urn: str, inputs: Plain) -> None:
        """Take it away, if it is there and still this resource's. Raises ProviderError."""


class QhsProvider(api.Provider):
    """The provider `qhs`: hands each request to the handler of its kind."""

    def __init__(self, kinds: Mapping[str, type[Handler]]) -> None:
        self._kinds = kinds
        self._settings = Settings()

    async def configure(self, request: api.ConfigureRequest) -> api.ConfigureResponse:
        given = plain(request.args)
        paths = (given.get(name) for name in ("sshConfig", "namesAccess", "trustAccess"))
        self._settings = Settings(*(Path(one) if isinstance(one, str) else None for one in paths))
        return api.ConfigureResponse(
            accept_secrets=True, supports_preview=True, accept_outputs=True, accept_resources=True
        )

    async def check(self, request: api.CheckRequest) -> api.CheckResponse:
        inputs = plain(request.new_inputs)
        handler = self._handler(request.type)
        if has_unknown(inputs):  # judged in the update, which knows all
            return api.CheckResponse(marshalled(inputs))
        checked = handler.check(inputs)
        failures = [CheckFailure(path, reason) for path, reason in checked.failures.items()]
        return api.CheckResponse(marshalled(checked.inputs), failures)

    async def diff(self, request: api.DiffRequest) -> api.DiffResponse:
        handler = self._handler(request.type)
        old, new = plain(request.old_state), plain(request.new_inputs)
        if has_unknown(new):
            return api.DiffResponse(changes=True)
        wanted = handler.outputs(request.urn, new)
        described = {k: v for k, v in old.items() if k not in wanted.keys() | handler.TOLD}
        found = _kinds(differences(described, new), input_diff=True)
        if not found:
            # What follows from the inputs is news only where they alone do not explain it.
            found = _kinds(differences({k: v for k, v in old.items() if k in wanted}, wanted), input_diff=False)
        replaces = [handler.NAMED] if handler.key(new) != request.resource_id else []
        diffs = sorted({path.partition(".")[0] for path in found})
        return api.DiffResponse(bool(found), replaces, diffs=diffs, detailed_diff=found)

    async def create(self, request: api.CreateRequest) -> api.CreateResponse:
        handler, inputs = self._handler(request.type), plain(request.properties)
        if has_unknown(inputs):
            return api.CreateResponse("", marshalled(inputs))
        return api.CreateResponse(handler.key(inputs), await _done(handler, request.urn, inputs, request.preview))

    async def update(self, request: api.UpdateRequest) -> api.UpdateResponse:
        handler, inputs = self._handler(request.urn.split("::")[-2]), plain(request.news)
        if has_unknown(inputs):
            return api.UpdateResponse(marshalled(inputs))
        return api.UpdateResponse(await _done(handler, request.urn, inputs, request.preview))

    async def read(self, request: api.ReadRequest) -> api.ReadResponse:
        handler = self._handler(request.type)
        if not request.inputs:
            raise ProviderError(f"{request.resource_id}: declare it and run `up`, which takes over what is there")
        found = await asyncio.to_thread(handler.read, request.resource_id, plain(request.inputs))
        if found is None:
            return api.ReadResponse()
        inputs, outputs = found
        return api.ReadResponse(request.resource_id, marshalled({**inputs, **outputs}), marshalled(inputs))

    async def delete(self, request: api.DeleteRequest) -> None:
        handler, state = self._handler(request.urn.split("::")[-2]), plain(request.properties)
        await asyncio.to_thread(handler.remove, request.urn, state)

    def _handler(self, token: str) -> Handler:
        # The type in a URN names its parents too.
        kind = token.rpartition("$")[2]
        if kind not in self._kinds:
            raise ProviderError(f"{kind} is no kind of this provider; wanted one of {', '.join(sorted(self._kinds))}")
        return self._kinds[kind](self._settings)


async def _done(handler: Handler, urn: str, inputs: Plain, preview: bool) -> dict[str, PropertyValue]:
    """Have it written, but in a preview; the state that the engine keeps."""
    told = dict.fromkeys(handler.TOLD, UNKNOWN) if preview else await asyncio.to_thread(handler.write, urn, inputs)
    return marshalled({**inputs, **handler.outputs(urn, inputs), **(told or {})})


def _kinds(found: Iterable[tuple[str, PropertyDiffKind]], *, input_diff: bool) -> dict[str, PropertyDiff]:
    return {path: PropertyDiff(kind, input_diff) for path, kind in found}
