"""The signing service of a site, asked from a machine of the applications, as flows let one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qhs import pki
from qhs.pki.credentials import SIGNATORIES
from qhs.signing.client import Credential, SigningService
from qhs.twin import boot, inside
from qhs.twin.names import Twin
from stacks.model import load, signing

ESTATE = load("twin")
SIGNATORY = signing.signatories(ESTATE)[0]


def credential(twin: Twin, name: str = SIGNATORY) -> Credential:
    return Credential.read(file_of(twin, name))


def file_of(twin: Twin, name: str = SIGNATORY) -> Path:
    return SIGNATORIES.current(pki.folder(twin), name)


def asked[T](twin: Twin, site: str, question: Callable[[SigningService], T], service: str = "signer") -> T:
    """By the certificate of a signatory."""
    namespace = Path(f"/proc/{boot.group(twin, f'{site}-app1').init()}/ns/net")
    return inside.call(namespace, lambda: question(opened(twin, site, service)))


def opened(twin: Twin, site: str, service: str = "signer") -> SigningService:
    """For whoever is in the right namespace already."""
    address = next(one.targets[0].texts()[0] for one in ESTATE.served(site) if one.service == service)
    name = f"{service}.{ESTATE.domain(site)}"
    return SigningService(address, name, pki.folder(twin) / "root.crt", file_of(twin))
