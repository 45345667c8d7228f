"""Which demands and controls an estate serves, and by what. Pure: no file, no clock, no connection.

An id counts as served only by an element that a rule, a probe or a test would miss if it were gone: a flow that
brings places together, what such a flow uses, a site with firewalls, a carrier of such a site, and a tenant whose
zone and partners flows reach.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from stacks.model import Estate
from stacks.model.catalogue import Declared
from stacks.model.estate import INTER_SITE, Conversation


def served(estate: Estate, now: datetime) -> dict[str, set[str]]:
    """Each id that is served, with the elements that serve it (`flow app-to-postgres`). Expired flows serve nothing."""
    found: dict[str, set[str]] = defaultdict(set)
    for element, ids in _elements(estate, now):
        for one in ids:
            found[one].add(element)
    return dict(found)


def missing(estate: Estate, now: datetime, ids: Iterable[str]) -> list[str]:
    """Those of the ids that nothing in the estate serves."""
    have = served(estate, now)
    return sorted(set(ids) - have.keys())


def _elements(estate: Estate, now: datetime) -> Iterator[tuple[str, list[str]]]:
    cat = estate.catalogue
    alive = estate.alive(now)
    used: dict[str, set[str | None]] = {
        "flow": {one.flow for one in alive},
        "service": {one.target.service for one in alive},
        "zone": {place.zone for one in alive for place in (one.source, one.destination)},
        "partner": {place.partner for one in alive for place in (one.source, one.destination)},
        "external": {name for one in alive for name in _externals(one)},
        "carrier": {name for site in estate.active_sites for name in estate.inventory.sites[site].carriers},
    }
    named: dict[str, Mapping[str, Declared]] = {
        "flow": cat.flows,
        "service": cat.services,
        "zone": cat.zones,
        "partner": cat.partners,
        "external": cat.externals,
        "carrier": cat.carriers,
    }
    for kind, names in used.items():
        for name, element in named[kind].items():
            if name in names:
                yield f"{kind} {name}", element.serves
    for name in estate.active_sites:
        yield f"site {name}", estate.inventory.sites[name].serves
    for name, tenant in cat.tenants.items():
        if tenant.zone in used["zone"] and set(tenant.partners) <= used["partner"]:
            yield f"tenant {name}", tenant.serves


def _externals(conversation: Conversation) -> Iterator[str]:
    """External networks that the packets of a conversation pass."""
    ends = (conversation.source, conversation.destination)
    yield from (place.leg for place in ends if place.site is None)
    if all(place.site for place in ends) and ends[0].site != ends[1].site:
        yield INTER_SITE
