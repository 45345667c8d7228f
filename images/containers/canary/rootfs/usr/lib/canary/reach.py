"""Tries addresses, all at once: one that drops what comes makes nobody wait for the others."""

import asyncio

SECONDS = 2


def tried(there: list[tuple[str, int]]) -> list[str]:
    """Of each `open`, `refused`, or `nothing` where nobody says anything."""
    return asyncio.run(_all(there))


async def _all(there: list[tuple[str, int]]) -> list[str]:
    return list(await asyncio.gather(*(_one(host, port) for host, port in there)))


async def _one(host: str, port: int) -> str:
    try:
        async with asyncio.timeout(SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return "refused"
    except OSError:  # a time that is over is one too
        return "nothing"
    writer.transport.abort()
    return "open"
