"""The keys of the signing stacks as the devices of a running twin have them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from cryptography import x509
from pydantic import BaseModel
from rich.table import Table

from qhs.reaching import settings, within
from qhs.twin.names import Twin
from stacks.model import Estate, signing
from stacks.provider.signing import devices
from stacks.provider.signing.device import DeviceError


class KeyOnDevice(BaseModel):
    """What one device says of a key."""

    device: str
    site: str
    found: str = ""
    """Why it is not as on the others; empty: it is."""
    signs: bool | None = None
    """Whether a signature of now verified; none: nobody tried."""


class Key(BaseModel):
    """A key of a token."""

    token: str
    label: str
    public: str = ""
    """SubjectPublicKeyInfo, in hexadecimal DER."""
    subject: str = ""
    issuer: str = ""
    expires: datetime | None = None
    devices: list[KeyOnDevice] = []


class KeysReport(BaseModel):
    """What `qhs hsm list --json` and `verify --json` print."""

    environment: str
    keys: list[Key]

    @property
    def code(self) -> int:
        """2: a device has another key, or it does not sign; 3: a device lacks one, or does not answer."""
        of = [one for key in self.keys for one in key.devices]
        if any(one.signs is False or one.found.startswith("another") for one in of):
            return 2
        return 3 if any(one.found for one in of) else 0


def look(estate: Estate, twin: Twin, *, prove: bool = False) -> KeysReport:
    """Ask every device; with `prove` have each key sign. Raises UserError where a store lets nobody in."""
    wanted = [(token.label, key.label) for token in signing.tokens(estate) for key in token.keys]
    at = {(site, one): site for site in signing.signing_sites(estate) for one in signing.devices(estate, site)}

    def ask() -> list[Key]:
        own = settings(estate, twin)
        found = {label: Key(token=token, label=label) for token, label in wanted}
        for site, machine in at:
            for label in dict.fromkeys(token for token, _ in wanted):
                token = devices.token(own, site, machine, label)
                for key in (one for of, one in wanted if of == label):
                    _add(found[key], _told(token, site, key, prove))
        return list(found.values())

    return KeysReport(environment=estate.inventory.environment, keys=within(twin, ask))


def rotated(estate: Estate, twin: Twin, label: str) -> Iterator[str]:
    """Each device whose token has another PIN by now. Raises UserError."""
    for site in signing.signing_sites(estate):
        for machine in signing.devices(estate, site):
            token = devices.token(settings(estate, twin), site, machine, label)
            within(twin, token.rotate)
            yield machine


def _told(token: devices.Token, site: str, label: str, prove: bool) -> tuple[KeyOnDevice, str, str]:
    """What a device says of a key, its public half and its certificate."""
    one = KeyOnDevice(device=token.machine, site=site)
    try:
        there = token.keys().get(label)
        if there is None:
            return one.model_copy(update={"found": "no such key"}), "", ""
        signs = bool(token.ask("prove", label=label)["verified"]) if prove else None
        return one.model_copy(update={"signs": signs}), str(there["public"]), str(there["certificate"] or "")
    except DeviceError as error:
        return one.model_copy(update={"found": str(error)}), "", ""


def _add(key: Key, told: tuple[KeyOnDevice, str, str]) -> None:
    """The first device that has it says which one it is."""
    one, public, certificate = told
    if public and not key.public:
        key.public = public
    if public and public != key.public:
        one = one.model_copy(update={"found": "another key"})
    if certificate and not key.subject:
        leaf = x509.load_der_x509_certificate(bytes.fromhex(certificate))
        key.subject, key.issuer = leaf.subject.rfc4514_string(), leaf.issuer.rfc4514_string()
        key.expires = leaf.not_valid_after_utc
    key.devices.append(one)


def table(report: KeysReport) -> Table:
    """A line a key."""
    rows = Table("token", "key", "subject", "issuer", "until", "devices", title=f"Keys of {report.environment}")
    for one in report.keys:
        until = f"{one.expires:%Y-%m-%d}" if one.expires else ""
        odd = [f"{it.device}: {it.found or 'does not sign'}" for it in one.devices if it.found or it.signs is False]
        rows.add_row(one.token, one.label, one.subject, one.issuer, until, "\n".join(odd) or f"all {len(one.devices)}")
    return rows
