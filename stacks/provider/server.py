"""The plugin's gRPC server: the SDK's, but an exception reaches the user as one message, without a traceback."""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, cast

import grpc
from pulumi.provider.experimental.provider import Provider
from pulumi.provider.experimental.server import ProviderServicer
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import provider_pb2_grpc

from stacks.provider.settings import ProviderError

_ANSWERED = ("CheckConfig", "DiffConfig", "Configure", "Check", "Diff", "Create", "Read", "Update", "Delete")

type Method = Callable[[ProviderServicer, Any, Any], Awaitable[Any]]


def _with_one_message(method: Method) -> Method:
    @wraps(method)
    async def answer(self: ProviderServicer, request: Any, context: Any) -> Any:
        try:
            return await method(self, request, context)
        except Exception as error:
            # The SDK wraps what a provider raises together with its traceback.
            await context.abort(grpc.StatusCode.UNKNOWN, message(error.__context__ or error))

    return answer


def message(error: BaseException) -> str:
    """A fault of the estate in its own words; one of this plugin with the place where it is."""
    if isinstance(error, ProviderError):
        return str(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"a fault of the plugin qhs, {type(error).__name__} at {place.filename}:{place.lineno}: {error}"


Servicer = type(
    "Servicer", (ProviderServicer,), {name: _with_one_message(getattr(ProviderServicer, name)) for name in _ANSWERED}
)


def serve(provider: Provider, version: str, arguments: list[str]) -> None:
    """Serve until the engine ends the process. `arguments` begin with the engine's address."""

    async def run() -> None:
        server = grpc.aio.server(options=_GRPC_CHANNEL_OPTIONS)
        servicer = cast(type[ProviderServicer], Servicer)(arguments, version, provider, arguments[0])
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()
        await server.wait_for_termination()

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        # The engine interrupts its plugins when it is interrupted itself: no news.
        sys.exit(0)
