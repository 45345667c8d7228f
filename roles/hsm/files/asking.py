"""Requests for certificates (PKCS#10), signed elsewhere."""

from typing import Any

from asn1crypto import algos, csr, keys, x509
from cryptography.hazmat.primitives.asymmetric import rsa

_PARTS = ("common_name", "organization_name", "organizational_unit_name")
COUNTRY = "VN"


def asked(subject: str, public: bytes) -> Any:
    """What is to be signed with SHA-256: a subject, common name/organisation/unit, and its key."""
    name = {"country_name": COUNTRY, **dict(zip(_PARTS, subject.split("/"), strict=False))}
    return csr.CertificationRequestInfo(
        {
            "version": "v1",
            "subject": x509.Name.build(name),
            "subject_pk_info": keys.PublicKeyInfo.load(public),
            "attributes": [],
        }
    )


def signed(info: Any, key: Any, signature: bytes) -> bytes:
    """The request."""
    algorithm = "sha256_rsa" if isinstance(key, rsa.RSAPublicKey) else "sha256_ecdsa"
    return bytes(
        csr.CertificationRequest(
            {
                "certification_request_info": info,
                "signature_algorithm": algos.SignedDigestAlgorithm({"algorithm": algorithm}),
                "signature": signature,
            }
        ).dump()
    )
