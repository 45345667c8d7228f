"""Whom packets come to first, and where none leads: there the want of a route is as good as a rule."""

from __future__ import annotations

from qhs.layout import stand_gateway
from qhs.net.probe.vantage import Vantage
from stacks.model import Estate, addresses
from stacks.model.addresses import Pair
from stacks.model.estate import MANAGEMENT_PORTS, Place


def first_hop(estate: Estate, source: Vantage, site: str) -> tuple[Pair | None, bool]:
    """Whom a packet to a site comes to first, and whether that one routes: a gateway, or the operator's own port."""
    place = estate.places[source.place]
    if place.of_pair:  # into a tunnel, which has no neighbours
        return None, site in estate.inventory.sites and site != place.site
    if place.zone is None and site in estate.entry_sites(place):
        return estate.transit(site, place.leg, addresses.GATEWAY), True
    if source.kind == "stand":
        return stand_gateway(estate, place), True
    if place.zone is None:
        return None, False
    if estate.catalogue.zones[place.zone].firewall == "gateway":
        return addresses.host(place.prefix, addresses.GATEWAY), True
    return (estate.operator(str(place.site)) if place.zone == MANAGEMENT_PORTS else None), False


def without_route(estate: Estate, source: Vantage, to: Place) -> bool:
    """Firewalls have no leg in the enclave, those of some sites none in some networks; and but from another site no way
    leads to the tunnels' end of a firewall that does not hold the gateway.
    """
    place = estate.places[source.place]
    if to.site is None:
        return not set(estate.entry_sites(place)) & set(estate.entry_sites(to))
    if to.of_pair:
        return place.site in (None, to.site)
    return to.zone is not None and estate.catalogue.zones[to.zone].firewall == "none"
