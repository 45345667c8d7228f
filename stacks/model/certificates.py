"""Whom the machines of a site have their certificates from, and for which names."""

from __future__ import annotations

from pathlib import Path

from stacks.model import ingress, kubernetes, service_names
from stacks.model.addresses import Pair
from stacks.model.estate import CONTROL, FIREWALL, LEASE, QUORUM, Estate, Machine

AUTHORITY = "pki"
"""The service."""
ENGINE = "pki"
"""The path of the one engine for certificates of a site's secret store."""
ROLE = "machines"
"""What that engine calls the rules for them."""
HOURS = 168
"""For which a certificate of a machine is good."""


def title(site: str) -> str:
    """The name of the authority of a site, which it must ask the root for and no other may have."""
    return f"QHS machines of {site}"


def holder(estate: Estate, site: str) -> Machine:
    """The machine with the authority of a site."""
    return next(
        machine
        for machine in estate.machines.values()
        if machine.site == site and AUTHORITY in (one.service for one in machine.services)
    )


def way_in(machine: str) -> str:
    """What the secret store of a site calls the way in of that machine, to have certificates signed alone."""
    return f"authority-{machine}"


def names(estate: Estate, machine: Machine) -> list[str]:
    """The host names in a machine's certificate, its own first."""
    at = [one.service for one in (*machine.services, *machine.moving)]
    at += [one for one in (QUORUM, LEASE) if one in machine.roles]
    at += [kubernetes.STORE] if CONTROL in machine.roles else []
    services = [service_name(estate, one, machine.site) for one in dict.fromkeys(at)]
    services += [pair(estate, machine.site)] if FIREWALL in machine.roles else []
    services += [*ingress.names(estate, machine), *service_names.of(estate, machine)]
    return [machine.name, f"{machine.name}.{estate.inventory.domain}", *services]


def service_name(estate: Estate, service: str, site: str) -> str:
    """What a service of a site is called."""
    return f"{service}.{estate.domain(site)}"


def patterns(estate: Estate, site: str) -> list[str]:
    """What the host names in certificates of a site's machines look like, and those of no other site's.

    But for the service domain's: each leads to whichever site has the lease, so all that may have it answer by it.
    """
    moves = [service_names.name(estate, one) for one in service_names.labels(estate)]
    return [f"*.{estate.domain(site)}", f"{site}-*", *(moves if site in service_names.sites(estate) else ())]


def pair(estate: Estate, site: str) -> str:
    """The name by which both members of a pair are known to others: a tunnel ends at whichever holds the address."""
    return f"{estate.pair_name(site)}.{estate.inventory.domain}"


def networks(estate: Estate, site: str) -> list[str]:
    """Those whose addresses the authority of a site may put into certificates."""
    own = estate.inventory.sites[site]
    found = [Pair(own.ipv4, own.ipv6), *(estate.network(name) for name in (*own.externals, *own.carriers))]
    return [str(one) for network in found for one in network.both]


def own(site: str) -> str:
    """The name under which the certificate of a site's authority comes back."""
    return f"machines-{site}"


def came(folder: Path | None, name: str) -> str:
    """The certificates, in PEM, that came back from outside under a name; empty: none did yet."""
    path = folder / f"{name}.pem" if folder else None
    return path.read_text() if path and path.is_file() else ""
