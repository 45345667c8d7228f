"""Signatures as documents carry them: CMS with the attributes of CAdES and PAdES, around one of a device."""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from asn1crypto import algos, cms, core, tsp, x509

type Sign = Callable[[bytes], Awaitable[bytes]]
"""From the digest of what is to be signed to a signature over it (RSASSA-PKCS1-v1_5 or ECDSA)."""
TIME_STAMP = "signature_time_stamp_token"


async def signed_data(
    digest: bytes,
    algorithm: str,
    chain: list[bytes],
    sign: Sign,
    *,
    signed_at: datetime | None = None,
    content: tuple[str, bytes] | None = None,
) -> cms.SignedData:
    """Over content of this digest, which is not in it but where `content` gives its type and itself.

    `signed_at` is what a signatory claims: PAdES has it in the document, so not here.
    """
    certificates = [_loaded(one) for one in chain]
    leaf, kind = certificates[0], content[0] if content else "data"
    attributes = cms.CMSAttributes(_attributes(digest, algorithm, kind, leaf, signed_at))
    signature = await sign(hashlib.new(algorithm, attributes.dump()).digest())
    signer = {
        "version": "v1",
        "sid": {"issuer_and_serial_number": {"issuer": leaf.issuer, "serial_number": leaf.serial_number}},
        "digest_algorithm": {"algorithm": algorithm},
        "signed_attrs": attributes,
        "signature_algorithm": _scheme(leaf, algorithm),
        "signature": signature,
    }
    shown = {"content_type": kind, **({"content": core.ParsableOctetString(content[1])} if content else {})}
    return cms.SignedData(
        {
            "version": "v3" if content else "v1",
            "digest_algorithms": [{"algorithm": algorithm}],
            "encap_content_info": shown,
            "certificates": certificates,
            "signer_infos": [signer],
        }
    )


def _attributes(
    digest: bytes, algorithm: str, kind: str, leaf: x509.Certificate, signed_at: datetime | None
) -> list[Any]:
    """In the order of DER, which is that of a set."""
    certificate = tsp.ESSCertIDv2({"cert_hash": hashlib.sha256(leaf.dump()).digest()})
    found = [
        {"type": "content_type", "values": [kind]},
        {"type": "message_digest", "values": [digest]},
        {"type": "signing_certificate_v2", "values": [tsp.SigningCertificateV2({"certs": [certificate]})]},
        {
            "type": "cms_algorithm_protection",
            "values": [
                {
                    "digest_algorithm": algos.DigestAlgorithm({"algorithm": algorithm}),
                    "signature_algorithm": _scheme(leaf, algorithm),
                }
            ],
        },
    ]
    if signed_at:
        found.append({"type": "signing_time", "values": [cms.Time({"utc_time": signed_at.astimezone(UTC)})]})
    return sorted((cms.CMSAttribute(one) for one in found), key=lambda one: one.dump())


@lru_cache(256)
def _loaded(der: bytes) -> x509.Certificate:
    """Taken apart once: it is in every signature of its key."""
    return x509.Certificate.load(der)


def _scheme(leaf: x509.Certificate, algorithm: str) -> algos.SignedDigestAlgorithm:
    scheme = "rsassa_pkcs1v15" if leaf.public_key.algorithm == "rsa" else f"{algorithm}_ecdsa"
    return algos.SignedDigestAlgorithm({"algorithm": scheme})


def with_time(signed: cms.SignedData, token: bytes) -> None:
    """Put a time-stamp over the signature beside it."""
    stamp = cms.ContentInfo.load(token)
    signed["signer_infos"][0]["unsigned_attrs"] = cms.CMSAttributes(
        [cms.CMSAttribute({"type": TIME_STAMP, "values": [stamp]})]
    )


def packed(signed: cms.SignedData) -> bytes:
    """As it is handed out."""
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": signed}).dump())
