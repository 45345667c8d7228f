"""Signatures as documents carry them: CMS with the attributes of CAdES and PAdES, around one of a device.

What all signatures of a key have in common is encoded once: for each anew, it would take longer than the device does.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from asn1crypto import algos, cms, core, tsp, x509
from asn1crypto.parser import emit

type Sign = Callable[[bytes], Awaitable[bytes]]
"""From the digest of what is to be signed to a signature over it (RSASSA-PKCS1-v1_5 or ECDSA)."""
type Stamp = Callable[[bytes], Awaitable[bytes]]
"""From a signature to the token of a time-stamp over it."""
_SEQUENCE, _SET, _OCTETS = 16, 17, 4


@dataclass(frozen=True)
class _Signer:
    """What all signatures of a key by one algorithm have in common, in DER."""

    certificates: bytes
    name: bytes
    hash: bytes
    scheme: bytes
    attributes: tuple[bytes, ...]


async def signed_data(
    digest: bytes,
    algorithm: str,
    chain: list[bytes],
    sign: Sign,
    *,
    signed_at: datetime | None = None,
    content: tuple[str, bytes] | None = None,
    stamp: Stamp | None = None,
) -> bytes:
    """Over content of this digest, which is not in it but where `content` gives its type and itself.

    `signed_at` is what a signatory claims: PAdES has it in the document, so not here.
    """
    signer, kind = _signer(tuple(chain), algorithm), cms.ContentType(content[0] if content else "data").dump()
    attributes = [
        _attribute("content_type", kind),
        _attribute("message_digest", core.OctetString(digest).dump()),
        *signer.attributes,
    ]
    if signed_at:
        attributes.append(_attribute("signing_time", cms.Time({"utc_time": signed_at.astimezone(UTC)}).dump()))
    signed = b"".join(sorted(attributes))  # the order of DER, which is that of a set
    signature = await sign(hashlib.new(algorithm, emit(0, 1, _SET, signed)).digest())
    own = [signer.name, signer.hash, emit(2, 1, 0, signed), signer.scheme, core.OctetString(signature).dump()]
    if stamp:
        own.append(emit(2, 1, 1, _attribute("signature_time_stamp_token", await stamp(signature))))
    shown = [kind, *([emit(2, 1, 0, emit(0, 0, _OCTETS, content[1]))] if content else [])]
    whole = _sequence(
        core.Integer(3 if content else 1).dump(),
        emit(0, 1, _SET, signer.hash),
        _sequence(*shown),
        signer.certificates,
        emit(0, 1, _SET, _sequence(core.Integer(1).dump(), *own)),
    )
    return _sequence(cms.ContentType("signed_data").dump(), emit(2, 1, 0, whole))


@lru_cache(256)
def _signer(chain: tuple[bytes, ...], algorithm: str) -> _Signer:
    leaf = x509.Certificate.load(chain[0])
    names = {"digest_algorithm": algos.DigestAlgorithm({"algorithm": algorithm})}
    names |= {"signature_algorithm": _scheme(leaf, algorithm)}
    certificate = tsp.ESSCertIDv2({"cert_hash": hashlib.sha256(chain[0]).digest()})
    return _Signer(
        certificates=emit(2, 1, 0, b"".join(sorted(chain))),
        name=cms.IssuerAndSerialNumber({"issuer": leaf.issuer, "serial_number": leaf.serial_number}).dump(),
        hash=names["digest_algorithm"].dump(),
        scheme=names["signature_algorithm"].dump(),
        attributes=(
            _attribute("signing_certificate_v2", tsp.SigningCertificateV2({"certs": [certificate]}).dump()),
            _attribute("cms_algorithm_protection", cms.CMSAlgorithmProtection(names).dump()),
        ),
    )


def _scheme(leaf: x509.Certificate, algorithm: str) -> algos.SignedDigestAlgorithm:
    scheme = "rsassa_pkcs1v15" if leaf.public_key.algorithm == "rsa" else f"{algorithm}_ecdsa"
    return algos.SignedDigestAlgorithm({"algorithm": scheme})


def _attribute(kind: str, value: bytes) -> bytes:
    return _sequence(cms.CMSAttributeType(kind).dump(), emit(0, 1, _SET, value))


def _sequence(*parts: bytes) -> bytes:
    return bytes(emit(0, 1, _SEQUENCE, b"".join(parts)))
