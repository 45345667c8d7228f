"""How images come into the registries of the running twin, and what is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from qhs import ruleset_access
from qhs.containers import recipe
from qhs.containers.build import Built, ensure
from qhs.containers.notary import notary
from qhs.containers.registry import Registry
from qhs.errors import UserError
from qhs.progress import Progress
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import Estate, images
from stacks.provider.carried import Carried


def registries(twin: Twin, estate: Estate) -> Iterator[Registry]:
    """Each is spoken to by a user of its machine who can do nothing else there. Raises UserError."""
    found = images.registries(estate)
    if not found:
        raise UserError("the estate has no registry", f"let a machine hold the service {images.REGISTRY}")
    config, within = ruleset_access.write(twin), inside.command(twin, [])
    for site, one in found.items():
        door = partial(Carried.talking, config, images.USER, one.machine, inside=within)
        yield Registry(site, one.machine, door, notary(estate, twin, site))


def promote(
    twin: Twin, estate: Estate, names: Iterable[str], progress: Progress
) -> Iterator[tuple[Registry, Built, list[str]]]:
    """Have every registry hold images with their bills, signed; what had to be done. Raises UserError."""
    built = [ensure(name, progress) for name in names]
    for there in registries(twin, estate):
        with there:
            for one in built:
                yield there, one, there.promote(one)


@dataclass(frozen=True)
class Found:
    """An image of a registry."""

    site: str
    name: str
    digest: str
    """Empty: none of the name is told of."""
    fault: str
    """Why nothing should run it; empty: it may."""


def found(twin: Twin, estate: Estate) -> Iterator[Found]:
    """All that the registries tell of, whoever brought it. Raises UserError."""
    for there in registries(twin, estate):
        with there:
            for name in there.names():
                yield from _judged(there, name)


def _judged(there: Registry, name: str) -> Iterator[Found]:
    digests = there.digests(name)
    if name not in recipe.names():
        for digest in sorted(digests) or [""]:
            yield Found(there.site, name, digest, "found an image that nobody has a recipe for; wanted none")
        return
    pinned = recipe.load(name).digest
    if there.has(name, pinned):
        digests.add(pinned)  # also where nothing of it has a tag, as of one that was copied and not signed
    for digest in sorted(digests) or [""]:
        fault = there.fault(name, digest) if digest else "found something that has no tag; wanted it signed"
        yield Found(there.site, name, digest, fault)
