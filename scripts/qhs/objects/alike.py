"""What the object stores of the sites hold of applications, compared; and how far one is behind another."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import BaseModel, Field

from qhs.folders import CLONE
from qhs.reaching import settings, within
from qhs.twin.asking import Answer, ask
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.objects import buckets, object_stores
from stacks.provider.storage.client import Objects, Version
from stacks.provider.storage.stores import objects

PROGRAM = CLONE / "roles" / "object_sync" / "files" / "qhs_object_sync.py"
SETTLES = 10
"""Seconds after which a difference is none that is just being made even."""
CURRENT, OLDER, ABSENT = "current", "older", "absent"


class Difference(BaseModel):
    """A version of an object, or a bucket where no object is named, that is not the same everywhere."""

    bucket: str
    key: str = ""
    version: str = ""
    found: dict[str, str] = Field(description="by site: `current`, `older` or `absent`, with the digest of its content")


class Behind(BaseModel):
    """How a site's store stands to that of the site that has the lease."""

    site: str
    holder: Annotated[str, Field(description="the site that has the lease, as far as is known; empty: it is not")] = ""
    follows: Annotated[str, Field(description="the site that it follows; empty: none, as it has the lease itself")] = ""
    lag: Annotated[float | None, Field(description="seconds that it is behind; none: it follows nobody")] = None
    wrong: Annotated[str, Field(description="why it does not work there; empty: it does")] = ""
    missing: Annotated[str, Field(description="why it does not say; empty: it does")] = ""


def lag(twin: Twin, estate: Estate) -> list[Behind]:
    """Of every site with a store, as its machine says."""
    machines = {store.machine: site for site, store in object_stores(estate).items()}
    answers = ask(twin, PROGRAM.read_text(), {name: ["status"] for name in machines})
    return [_behind(machines[name], one) for name, one in answers.items()]


def _behind(site: str, answer: Answer) -> Behind:
    return Behind(site=site, missing=answer.missing) if answer.missing else Behind(**json.loads(answer.said))


def contents(twin: Twin, estate: Estate) -> list[Difference]:
    """In what the applications' buckets differ: names, versions, content, which is current. Raises ObjectsError.

    What differs once may be on its way: it counts where it still does a while later.
    """
    own = settings(estate, twin)
    names = [one.name for one in buckets(estate)]

    def found() -> list[Difference]:
        return differences({site: held(objects(own, site), names) for site in object_stores(estate)})

    if not (first := within(twin, found)):
        return []
    time.sleep(SETTLES)
    return [one for one in within(twin, found) if one in first]


def held(store: Objects, names: Iterable[str]) -> dict[str, set[Version] | None]:
    """By bucket what a store has; none: no such bucket. Raises ObjectsError."""
    there = store.buckets()
    return {name: store.contents(name) if name in there else None for name in names}


def differences(sites: Mapping[str, Mapping[str, set[Version] | None]]) -> list[Difference]:
    """By site and bucket what stores have: what is not the same at all of them."""
    result = []
    for bucket in sorted({name for one in sites.values() for name in one}):
        there = {site: one.get(bucket) for site, one in sites.items()}
        if any(one is None for one in there.values()) and any(one is not None for one in there.values()):
            said = {site: ABSENT if one is None else CURRENT for site, one in there.items()}
            result.append(Difference(bucket=bucket, found=said))
        by_version: dict[tuple[str, str], dict[str, str]] = defaultdict(lambda: dict.fromkeys(sites, ABSENT))
        for site, versions in there.items():
            for one in versions or ():
                state = f"{CURRENT if one.latest else OLDER} {one.etag or 'deletion'}"
                by_version[one.key, one.version][site] = state
        result += [
            Difference(bucket=bucket, key=key, version=version, found=states)
            for (key, version), states in sorted(by_version.items())
            if len(set(states.values())) > 1
        ]
    return result
