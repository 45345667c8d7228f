"""What signs: the tokens of the estate's devices and their keys, derived from the catalogue's tenants and services."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stacks.model.estate import HSM, LEASE, SECRETS, Estate, Machine
from stacks.model.images import REGISTRY

TIME_STAMP = "time-stamp"
IMAGES = "images"
"""The token that images of the private cloud are signed in, its one key, and what that is for (C-K8S-08).

A token of its own, of whoever owns the registries: a token has one owner (C-HSM-05), and all others are of
applications, of persons, or of whoever keeps the time. It is for images alone, so that what signs a document can never
let an image in, nor the other way round. A design choice.
"""
REPORTS = "drill-reports"
"""The token that reports of drills are signed in, and its one key (C-DR-04): of whoever owns the lease, which is what
drills move. What signs a report signs no document of an application. A design choice."""
RECORD = "Biên bản diễn tập"
"""What the certificate of that key calls it."""
USERS = "ky-so"
"""The tenant whose token has the keys of persons, so that no application holds any."""
ALGORITHM = "rsa-3072"
"""Of every key: good beyond 2030, and every reader of PDF takes it. A design choice."""
BODY = "Văn phòng Quốc hội"
LONGEST = 64
"""Bytes of a part of a subject."""


@dataclass(frozen=True)
class SigningKey:
    """A key of a token."""

    label: str
    subject: str
    """Common name/organisation/unit, as its certificate has them."""
    purpose: str
    """`duty`, `time-stamp` or `images`."""


@dataclass(frozen=True)
class SigningToken:
    """A partition of every device, for one tenant, for time-stamps, for images or for reports."""

    label: str
    owner: str
    level: int
    serves: tuple[str, ...]
    keys: tuple[SigningKey, ...]


def tokens(estate: Estate) -> Iterator[SigningToken]:
    """One a tenant with a seal or that counts ballots, one for all persons, time-stamps, images, reports (C-HSM-05)."""
    for name, tenant in estate.catalogue.tenants.items():
        of = tuple(estate.catalogue.flows["app-to-signing"].serves)
        if tenant.signing in ("seal", "ballot"):
            keys: tuple[SigningKey, ...] = (SigningKey(name, f"{_short(tenant.title.vi)}/{BODY}", "duty"),)
        elif name == USERS:
            keys = tuple(SigningKey(one, f"{one}/{BODY}", "duty") for one in signatories(estate))
        else:
            continue
        yield SigningToken(name, tenant.owner, tenant.level, of, keys)
    for label, named in ((TIME_STAMP, TIME_STAMP), (IMAGES, REGISTRY)):
        service = estate.catalogue.services[named]
        key = SigningKey(label, f"{_short(service.title.vi)}/{BODY}", label)
        yield SigningToken(label, service.owner, service.level, tuple(service.serves), (key,))
    moved = estate.catalogue.services[LEASE]
    record = SigningKey(REPORTS, f"{RECORD}/{BODY}", "duty")
    yield SigningToken(REPORTS, moved.owner, moved.level, tuple(moved.serves), (record,))


def key_for(estate: Estate, tenant: str) -> str:
    """By which key an application has things signed: its own, or a person's who uses it; empty: nobody is known."""
    match estate.catalogue.tenants[tenant].signing:
        case "seal" | "ballot":
            return tenant
        case "user":
            return next(iter(signatories(estate)), "")
    return ""


def signatories(estate: Estate) -> tuple[str, ...]:
    """The persons who sign, under made-up names until an identity provider names them."""
    return tuple(f"nguoi-ky-{number:02}" for number in range(1, estate.inventory.signing.signatories + 1))


def devices(estate: Estate, site: str) -> list[str]:
    """The machines of a site that have a device."""
    return [one.name for one in estate.with_role(site, HSM)]


def signing_sites(estate: Estate) -> tuple[str, ...]:
    """Sites that have devices."""
    return tuple(site for site in estate.active_sites if devices(estate, site))


def stores(estate: Estate) -> dict[str, dict[str, str]]:
    """By site the nodes of its secret store, and the address of each."""
    found = {site: estate.with_role(site, SECRETS) for site in estate.active_sites}
    return {site: {one.name: one.addresses[0] for one in nodes} for site, nodes in found.items() if nodes}


def nearest_stores(estate: Estate, machine: Machine) -> list[str]:
    """The addresses of the nodes of a machine's site, its own first; none where the site has no store."""
    nodes = stores(estate).get(machine.site, {})
    return [nodes[name] for name in sorted(nodes, key=lambda one: one != machine.name)]


def _short(title: str) -> str:
    """The words of a title that a certificate has room for."""
    words = title.replace("/", " ").split()
    return next(text for end in range(len(words), 0, -1) if len((text := " ".join(words[:end])).encode()) <= LONGEST)
