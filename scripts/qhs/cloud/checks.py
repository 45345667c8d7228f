"""What the model says that each canary finds, and whether it did. Nothing here asks anybody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel

from qhs.cloud.asking import Said
from stacks.model import Estate
from stacks.model.cloud import TenantPlace, places
from stacks.model.given import Given, given

WRITTEN, READ = "written and read", "read"
"""What a canary says of what it used (images/containers/canary)."""
UNWRITTEN = "no write"
"""What is wanted where another site takes the writes."""
REFUSALS = {"databases": "in a read-only transaction", "buckets": "this site has not the lease"}
"""What is said there, among other words: whatever else is no answer of what would take writes after a failover."""


class Check(BaseModel):
    """One thing that an application has, or must not have, at a site."""

    site: str
    tenant: str
    what: str
    of: str
    """Which of several."""
    wanted: str
    found: str
    as_wanted: bool


def judged(estate: Estate, said: Mapping[str, Said], writes: str | None) -> list[Check]:
    """Every check, by site and application. `writes`: the site whose databases take writes."""
    return [
        check
        for site, one in said.items()
        for place in places(estate, site)
        for check in _of(place, given(estate, site, place), site, one, takes_writes=site == writes)
    ]


def _of(place: TenantPlace, own: Given, site: str, said: Said, *, takes_writes: bool) -> Iterator[Check]:
    def check(what: str, of: str, wanted: str, found: str, *, as_wanted: bool) -> Check:
        return Check(site=site, tenant=place.name, what=what, of=of, wanted=wanted, found=found, as_wanted=as_wanted)

    ready = sum(1 for pod in said.pods if pod.tenant == place.name and pod.ready)
    yield check("pods", "", f"{place.copies} ready", f"{ready} ready", as_wanted=ready == place.copies)
    if not place.copies:
        return
    answer = said.answers.get(place.name, {})
    silent = said.silent.get(place.name, "no answer")
    secrets = str(answer.get("secrets", silent))
    yield check("secrets", "", READ, secrets, as_wanted=secrets == READ)
    used = {("databases", name): WRITTEN for name in own.databases}
    used |= {("buckets", name): READ if name in own.archives else WRITTEN for name in own.buckets}
    for (what, name), done in used.items():
        found = str(answer.get(what, {}).get(name, silent))
        # What is only read is there at every site.
        takes = takes_writes or done == READ
        wanted = done if takes else UNWRITTEN
        yield check(what, name, wanted, found, as_wanted=found == done if takes else REFUSALS[what] in found)
