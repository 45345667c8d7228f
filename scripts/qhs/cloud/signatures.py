"""What applications have signed: each passes on what the holder of a key released, and changes nothing in it."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.x509 import load_pem_x509_certificates

from qhs import pki
from qhs.cloud.asking import TRIES, Said
from qhs.cloud.checks import Check
from qhs.pki.credentials import SIGNATORIES
from qhs.signing.client import LONGEST, Credential
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.certificates import came
from stacks.model.cloud import places
from stacks.model.signing import key_for

SIGNED = "signed"
ALGORITHM, FORM = "sha256", "raw"


@dataclass(frozen=True)
class Wanted:
    """What one application is to have signed."""

    key: str
    digest: bytes
    requests: list[dict[str, str]]
    """As the signer takes them. Each is good once: another one a try."""


def released(estate: Estate, twin: Twin) -> dict[str, Wanted]:
    """By application that signs anything."""
    own = pki.ensure(twin)
    keys = {name: key for name in estate.catalogue.tenants if (key := key_for(estate, name))}
    return {name: _released(Credential.read(SIGNATORIES.current(own, key)), key) for name, key in keys.items()}


def _released(credential: Credential, key: str) -> Wanted:
    digest = os.urandom(32)
    asked = {"key": key, "algorithm": ALGORITHM, "digest": digest.hex(), "form": FORM}
    releases = [credential.release(key, digest, ALGORITHM, FORM, LONGEST) for _ in range(TRIES)]
    return Wanted(key, digest, [{**asked, "release": one} for one in releases])


def judged(
    estate: Estate, wanted: Mapping[str, Wanted], said: Mapping[str, Said], certificates: Path
) -> Iterator[Check]:
    """Of each application that signs and has a part at a site: whether its key signed what it asked for."""
    for site, one in said.items():
        for place in places(estate, site):
            if place.copies and (asked := wanted.get(place.name)):
                answer = one.answers.get(place.name, one.silent.get(place.name, "no answer"))
                found = _found(asked, answer, came(certificates, asked.key))
                yield Check(
                    site=site,
                    tenant=place.name,
                    what="signatures",
                    of=asked.key,
                    wanted=SIGNED,
                    found=found,
                    as_wanted=found == SIGNED,
                )


def _found(wanted: Wanted, answer: Any, chain: str) -> str:
    if not isinstance(answer, dict) or "signature" not in answer:
        return str(answer["refused"] if isinstance(answer, dict) and "refused" in answer else answer)
    if not chain:
        return "a signature of a key that no certificate has come for"
    public, known = load_pem_x509_certificates(chain.encode())[0].public_key(), utils.Prehashed(hashes.SHA256())
    signature = base64.b64decode(answer["signature"])
    try:
        if isinstance(public, rsa.RSAPublicKey):
            public.verify(signature, wanted.digest, padding.PKCS1v15(), known)
        elif isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(signature, wanted.digest, ec.ECDSA(known))
        else:
            return f"a certificate of {type(public).__name__}"
    except InvalidSignature:
        return "a signature that is not of its key over what was asked for"
    return SIGNED
