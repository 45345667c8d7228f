"""Who signs for the estate at a site, images above all, and whose signature is believed there."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import requests
from cryptography.hazmat.primitives.serialization import Encoding

from qhs import pki, trust_access
from qhs.containers.signature import Signed, Trust
from qhs.errors import UserError
from qhs.pki import stand_in
from qhs.pki.credentials import SIGNATORIES
from qhs.signing import asker
from qhs.signing.client import Credential, SigningError, SigningService
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import Estate, signing
from stacks.model.certificates import came, service_name
from stacks.model.cloud import SIGNER
from stacks.model.signing import IMAGES
from stacks.provider.signing.certificates import Chain

PATIENCE, AGAIN = 90, 2
"""Seconds: a signer looks each minute for keys and certificates that are new, and is asked this often meanwhile."""
NOT_YET = {"no-pin", "no-certificate", "device"}
"""Words of a signer that knows of the key, and lacks what it is to find soon."""


@dataclass(frozen=True)
class Notary:
    """Those of a site."""

    trust: Trust
    sign: Callable[[bytes], Signed]
    """A payload. Raises UserError."""


def notary(estate: Estate, twin: Twin, site: str, label: str = IMAGES) -> Notary:
    """Of the key with that label. Nobody is asked before something is to be signed. Raises UserError where no
    certificate has come for it."""
    folder, authority = trust_access.certificates(twin), estate.inventory.signing.authority
    pem, anchor = came(folder, label), came(folder, authority)
    if not (pem and anchor):
        raise UserError(
            f"{folder}: found no certificate of the key that signs {label}; wanted {label}.pem and {authority}.pem",
            "`qhs up` has it made and certified",
        )
    key = next(key for token in signing.tokens(estate) for key in token.keys if key.label == label)
    trust = Trust(anchor, key.subject, partial(stand_in.AUTHORITY.has_revoked, pki.folder(twin)), key.purpose)
    return Notary(trust, partial(_signed, estate, twin, site, Chain.read(pem, anchor), label=label))


def _signed(estate: Estate, twin: Twin, site: str, chain: Chain, payload: bytes, *, label: str) -> Signed:
    """Asked from where an application is, as `qhs bench sign` does: no flow leads from an operator to a signer."""
    own, digest = pki.ensure(twin), hashlib.sha256(payload).digest()
    credential = SIGNATORIES.current(own, label)
    address = next(one.targets[0].texts()[0] for one in estate.served(site) if one.service == SIGNER)

    def ask() -> bytes:
        service = SigningService(address, service_name(estate, SIGNER, site), own / "root.crt", credential)
        return service.sign(Credential.read(credential), label, digest, form="raw")

    signature = patiently(
        lambda: inside.call(asker.namespace(estate, twin, site), ask), f"the signer of {site}", label=label
    )
    leaf, *over = (one.public_bytes(Encoding.PEM).decode() for one in (*chain.certificates, chain.anchor))
    return Signed(payload, signature, leaf, "".join(over))


def patiently(ask: Callable[[], bytes], whom: str, patience: float = PATIENCE, label: str = IMAGES) -> bytes:
    """Until a signer that has just been told of a key knows it. Raises UserError."""
    end = time.monotonic() + patience
    while True:
        try:
            return ask()
        except (SigningError, requests.RequestException) as error:
            waits = not isinstance(error, SigningError) or error.code in NOT_YET
            if not waits or time.monotonic() >= end:
                way_out = "`journalctl -u qhs-signer` on the hosts of the site's HSMs; `qhs hsm list` shows the keys"
                raise UserError(f"{whom}: found no signature of the key {label}: {error}", way_out) from None
        time.sleep(AGAIN)
