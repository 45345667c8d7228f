"""Entries that are each bound to all before them: whoever changes one has to change every one after it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import AwareDatetime, Field

from stacks.model.catalogue import Strict

type Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Link(Strict):
    """An entry; what it says stands in the fields of its own kind."""

    at: AwareDatetime
    previous: Digest
    """The hash of the entry before; of the first one the digest of what all of it is about."""
    hash: Digest = "0" * 64

    def digest(self) -> str:
        """What the hash must be."""
        told = self.model_dump(mode="json", exclude={"hash"})
        return hashlib.sha256(json.dumps(told, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def bound[L: Link](blank: L) -> L:
    """With its hash."""
    return blank.model_copy(update={"hash": blank.digest()})


def broken(links: Iterable[Link], first: str) -> Iterator[str]:
    """Where an entry is not bound to those before it; `first`: what the first one must be bound to."""
    previous = first
    for number, one in enumerate(links, 1):
        if one.previous != previous:
            yield f"entry {number}: found it after {one.previous[:16]}; wanted {previous[:16] or 'nothing'}"
        if one.hash != one.digest():
            yield f"entry {number}: found the hash {one.hash[:16]}; wanted {one.digest()[:16]}, of what it says"
        previous = one.hash
