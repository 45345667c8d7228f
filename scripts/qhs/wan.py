"""The tunnels of a firewall: whom its pair speaks to at each carrier, and for which networks."""

from __future__ import annotations

from typing import Any

from stacks.model import Estate
from stacks.model.addresses import GATEWAY, Pair, text
from stacks.model.certificates import pair
from stacks.model.estate import INTER_SITE, TUNNEL, Machine


def member(estate: Estate, machine: Machine) -> dict[str, Any]:
    """What a member of a pair knows of its tunnels."""
    ports = {port.name: port for port in machine.interfaces}
    carriers = estate.inventory.sites[machine.site].carriers
    others = dict.fromkeys(peer for carrier in carriers for peer in estate.peers(machine.site, carrier))
    return {
        "wan_identity": pair(estate, machine.site),
        "wan_interface": TUNNEL,
        "wan_addresses": list(ports[TUNNEL].cidrs),
        "wan_networks": _networks(estate, machine.site),
        "wan_peers": [_peer(estate, machine.site, peer) for peer in others],
        "qhs_carriers": [
            {"name": name, "own": text(ports[name].address.ipv4), **_ends(estate, machine.site, name)}
            | {"peers": {peer: _ends(estate, peer, name) for peer in estate.peers(machine.site, name)}}
            for name in carriers
        ],
    }


def own_tunnels(estate: Estate, site: str) -> tuple[str, ...]:
    """What the role `wan` calls the tunnels that each firewall of a site has for itself: by other site and carrier."""
    carriers = estate.inventory.sites[site].carriers
    return tuple(f"own-{peer}-{carrier}" for carrier in carriers for peer in estate.peers(site, carrier))


def _ends(estate: Estate, site: str, carrier: str) -> dict[str, str]:
    """Where a pair is found at a carrier: tunnels run over IPv4, whatever is inside."""
    held, prefix = estate.transit(site, carrier, GATEWAY), estate.ends(site, carrier)
    return {"held": text(held.ipv4), "prefix": text(prefix.ipv4)}


def _peer(estate: Estate, site: str, peer: str) -> dict[str, Any]:
    """One of two sites starts the tunnels of their pairs: that of the lower index."""
    sites = estate.inventory.sites
    return {
        "site": peer,
        "identity": pair(estate, peer),
        "networks": _networks(estate, peer),
        "firewalls": estate.ends(peer, INTER_SITE).texts(),
        "starts": sites[site].index < sites[peer].index,
    }


def _networks(estate: Estate, site: str) -> list[str]:
    one = estate.inventory.sites[site]
    return Pair(one.ipv4, one.ipv6).texts()
