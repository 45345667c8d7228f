"""What stands where traffic crosses a border: the public edge and what is behind it, the way out, and who looks on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stacks.model import Estate, certificates, cloud, ingress, service_names
from stacks.model.addresses import Pair
from stacks.model.estate import FIREWALL, Machine, ServiceAt

SSH = "tcp/22"


def variables(estate: Estate, machine: Machine) -> dict[str, Any]:
    """What the roles of these need to know on a machine; nothing where it has none of them."""
    services = estate.catalogue.services
    found: dict[str, Any] = {}
    for held in machine.services:
        if held.service == ingress.EDGE:
            found |= _edge(estate, machine, held)
        if held.service == ingress.PEOPLE:
            found |= _ways_in(estate, machine)
        if services[held.service].leads_out:
            found |= _way_out(estate, held)
    return found | (_inspection(estate, machine) if FIREWALL in machine.roles else {})


def _edge(estate: Estate, machine: Machine, held: ServiceAt) -> dict[str, Any]:
    behind = ingress.ways_in(estate, machine.site)[ingress.PEOPLE]
    return {
        "public_edge_addresses": held.targets[0].texts(),
        "public_edge_names": [
            *(one.name for one in ingress.public(estate, machine.site)),
            *service_names.of(estate, machine),
        ],
        "public_edge_applications": {
            "address": behind.address.texts()[0],
            "name": certificates.service_name(estate, behind.service, machine.site),
        },
    }


def _ways_in(estate: Estate, machine: Machine) -> dict[str, Any]:
    """What people come to on a machine, by the service; it asks the parts of applications from its own address."""
    (port,) = estate.catalogue.services[cloud.PARTS].ports
    return {
        "ingress_ways": {
            one.service: {
                "addresses": one.address.texts(),
                "trusted": _texts(ingress.trusted(estate, one)),
                "published": {it.name: it.parts for it in one.published},
            }
            for one in ingress.ways_in(estate, machine.site).values()
        },
        "ingress_domain": estate.domain(machine.site),
        "ingress_service_domain": service_names.domain(estate),
        "ingress_port": port.removeprefix("tcp/"),
    }


def _way_out(estate: Estate, held: ServiceAt) -> dict[str, Any]:
    """For each flow to this place: from where it comes there, and to what it may be led."""
    sources: dict[str, list[str]] = {}
    for one in estate.conversations:
        if (one.target.service, one.target.place) == (held.service, held.place):
            sources.setdefault(one.flow, []).extend(one.source.prefix.texts())
    return {
        "egress_proxy_addresses": held.targets[0].texts(),
        "egress_proxy_resolvers": [str(one) for net in estate.inventory.externals.values() for one in net.resolvers],
        "egress_proxy_flows": [
            {"sources": prefixes, "destinations": estate.catalogue.flows[flow].destinations}
            for flow, prefixes in sources.items()
        ],
    }


def _inspection(estate: Estate, member: Machine) -> dict[str, Any]:
    """Who may come by SSH, and where to, at any site; and the networks of legs that nothing is forwarded on."""
    asked = [one for one in estate.conversations if SSH in one.target.ports]
    legs = [estate.places[port.place] for port in member.interfaces if port.place in estate.places]
    apart = [place.prefix for place in legs if place.zone and estate.catalogue.zones[place.zone].firewall == "leg"]
    return {
        "inspection_bastions": _texts(pair for one in asked for pair in one.target.targets),
        "inspection_ssh_from": _texts(one.source.prefix for one in asked),
        "inspection_apart": _texts(apart),
    }


def _texts(pairs: Iterable[Pair]) -> list[str]:
    """Each once."""
    return list(dict.fromkeys(text for pair in pairs for text in pair.texts()))
