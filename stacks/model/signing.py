"""What signs: the tokens of the estate's devices and their keys, derived from the tenants that sign documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stacks.model.estate import HSM, SECRETS, Estate, Machine

TIME_STAMP = "time-stamp"
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
    """`duty` or `time-stamp`."""


@dataclass(frozen=True)
class SigningToken:
    """A partition of every device, for one tenant or for time-stamps."""

    label: str
    owner: str
    level: int
    serves: tuple[str, ...]
    keys: tuple[SigningKey, ...]


def tokens(estate: Estate) -> Iterator[SigningToken]:
    """One a tenant that has a seal or counts ballots, one for all persons, one for time-stamps (C-HSM-05)."""
    for name, tenant in estate.catalogue.tenants.items():
        of = tuple(estate.catalogue.flows["app-to-signing"].serves)
        if tenant.signing in ("seal", "ballot"):
            keys: tuple[SigningKey, ...] = (SigningKey(name, f"{_short(tenant.title.vi)}/{BODY}", "duty"),)
        elif name == USERS:
            keys = tuple(SigningKey(one, f"{one}/{BODY}", "duty") for one in signatories(estate))
        else:
            continue
        yield SigningToken(name, tenant.owner, tenant.level, of, keys)
    service = estate.catalogue.services[TIME_STAMP]
    key = SigningKey(TIME_STAMP, f"{service.title.vi}/{BODY}", TIME_STAMP)
    yield SigningToken(TIME_STAMP, service.owner, service.level, tuple(service.serves), (key,))


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
