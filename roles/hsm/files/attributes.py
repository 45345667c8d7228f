"""The attributes that PKCS#11 objects of ours have, and public keys in and out of them."""

from typing import Any

import PyKCS11
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

type Attributes = list[tuple[int, Any]]

KEK, TRANSPORT, TRANSPORT_ALGORITHM = "kek", "transport", "rsa-3072"
SIZES = {"rsa-3072": 3072, "rsa-4096": 4096}
CURVES: dict[str, ec.EllipticCurve] = {"ec-p256": ec.SECP256R1(), "ec-p384": ec.SECP384R1()}
_OIDS = {"ec-p256": bytes.fromhex("06082a8648ce3d030107"), "ec-p384": bytes.fromhex("06052b81040022")}
# A use of a private key, and what its public one does then.
USES = {
    "sign": (PyKCS11.CKA_SIGN, PyKCS11.CKA_VERIFY),
    "decrypt": (PyKCS11.CKA_DECRYPT, PyKCS11.CKA_ENCRYPT),
    "unwrap": (PyKCS11.CKA_UNWRAP, PyKCS11.CKA_WRAP),
}
# SoftHSM allows what no template forbids.
_EVERY_USE = (PyKCS11.CKA_SIGN, PyKCS11.CKA_SIGN_RECOVER, PyKCS11.CKA_DECRYPT, PyKCS11.CKA_UNWRAP, PyKCS11.CKA_DERIVE)
_PUBLIC_KINDS = (PyKCS11.CKO_PUBLIC_KEY, PyKCS11.CKO_CERTIFICATE)  # a security officer sees no others
# They come last: once an object may not be modified, not even the rest of its template is taken.
_FINAL: Attributes = [(PyKCS11.CKA_COPYABLE, False), (PyKCS11.CKA_MODIFIABLE, False)]
# Only wrapped for whom a security officer trusts.
_TRUSTING: Attributes = [(PyKCS11.CKA_SENSITIVE, True), (PyKCS11.CKA_WRAP_WITH_TRUSTED, True)]


def named(kind: int, label: str) -> Attributes:
    """What finds an object again; everything of one key has one label."""
    identity = [] if kind in (PyKCS11.CKO_DATA, PyKCS11.CKO_SECRET_KEY) else [(PyKCS11.CKA_ID, label.encode())]
    private = (PyKCS11.CKA_PRIVATE, kind not in _PUBLIC_KINDS)
    return [(PyKCS11.CKA_CLASS, kind), (PyKCS11.CKA_TOKEN, True), (PyKCS11.CKA_LABEL, label), *identity, private]


def private_key(label: str, use: str, *, extractable: bool) -> Attributes:
    """For one use alone."""
    return [
        *named(PyKCS11.CKO_PRIVATE_KEY, label),
        (PyKCS11.CKA_SENSITIVE, True),
        (PyKCS11.CKA_EXTRACTABLE, extractable),
        *((one, one == USES[use][0]) for one in _EVERY_USE),
    ]


def public_key(label: str, use: str, *rest: tuple[int, Any]) -> Attributes:
    """The other half of it."""
    return [*named(PyKCS11.CKO_PUBLIC_KEY, label), (USES[use][1], True), *rest]


def certificate_of(label: str, der: bytes) -> Attributes:
    """The certificate of a key."""
    subject = x509.load_der_x509_certificate(der).subject.public_bytes()
    return [
        *named(PyKCS11.CKO_CERTIFICATE, label),
        (PyKCS11.CKA_CERTIFICATE_TYPE, PyKCS11.CKC_X_509),
        (PyKCS11.CKA_SUBJECT, subject),
        (PyKCS11.CKA_VALUE, der),
    ]


def transport_key() -> Attributes:
    """What unwraps the key of a domain, and nothing that could then be read or wrapped for anybody else."""
    return [
        *private_key(TRANSPORT, "unwrap", extractable=False),
        (PyKCS11.CKA_UNWRAP_TEMPLATE, _TRUSTING),
        *_FINAL,
    ]


def trusted_key(label: str, public: Any) -> Attributes:
    """The transport key of another device, as a security officer makes it."""
    return [*public_key(label, "unwrap", *numbers(public)), (PyKCS11.CKA_TRUSTED, True), *_FINAL]


def domain_key() -> Attributes:
    """What wraps and unwraps the keys of a domain; nobody can have it unwrap one that could be read."""
    no = (PyKCS11.CKA_ENCRYPT, PyKCS11.CKA_DECRYPT, PyKCS11.CKA_SIGN, PyKCS11.CKA_VERIFY)
    inherited = [(PyKCS11.CKA_PRIVATE, True), (PyKCS11.CKA_SENSITIVE, True), (PyKCS11.CKA_EXTRACTABLE, False)]
    return [
        *named(PyKCS11.CKO_SECRET_KEY, KEK),
        (PyKCS11.CKA_KEY_TYPE, PyKCS11.CKK_AES),
        *_TRUSTING,
        (PyKCS11.CKA_EXTRACTABLE, True),
        (PyKCS11.CKA_WRAP, True),
        (PyKCS11.CKA_UNWRAP, True),
        *((one, False) for one in no),
        (PyKCS11.CKA_UNWRAP_TEMPLATE, inherited),
        *_FINAL,
    ]


def generating(algorithm: str) -> Any:
    """The mechanism that makes a key pair."""
    return PyKCS11.Mechanism(
        PyKCS11.CKM_RSA_PKCS_KEY_PAIR_GEN if algorithm in SIZES else PyKCS11.CKM_EC_KEY_PAIR_GEN, None
    )


def size(algorithm: str) -> Attributes:
    """Of a public key that is to be generated."""
    if algorithm in SIZES:
        return [(PyKCS11.CKA_MODULUS_BITS, SIZES[algorithm]), (PyKCS11.CKA_PUBLIC_EXPONENT, (1, 0, 1))]
    return [(PyKCS11.CKA_EC_PARAMS, _OIDS[algorithm])]


def numbers(public: Any) -> Attributes:
    """A public key that is there already."""
    if isinstance(public, rsa.RSAPublicKey):
        of = public.public_numbers()
        modulus, exponent = ((PyKCS11.CKA_MODULUS, of.n), (PyKCS11.CKA_PUBLIC_EXPONENT, of.e))
        sized = ((one, value.to_bytes((value.bit_length() + 7) // 8)) for one, value in (modulus, exponent))
        return [(PyKCS11.CKA_KEY_TYPE, PyKCS11.CKK_RSA), *sized]
    name = next(name for name, curve in CURVES.items() if curve.name == public.curve.name)
    point = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    octets = bytes((4, len(point))) + point  # a DER OCTET STRING, below 128 bytes
    return [
        (PyKCS11.CKA_KEY_TYPE, PyKCS11.CKK_EC),
        (PyKCS11.CKA_EC_PARAMS, _OIDS[name]),
        (PyKCS11.CKA_EC_POINT, octets),
    ]


def of_numbers(read: Any) -> Any:
    """The public key of an object; `read` gives the bytes of one of its attributes."""
    if modulus := read(PyKCS11.CKA_MODULUS):
        exponent = read(PyKCS11.CKA_PUBLIC_EXPONENT)
        return rsa.RSAPublicNumbers(int.from_bytes(exponent), int.from_bytes(modulus)).public_key()
    parameters, point = read(PyKCS11.CKA_EC_PARAMS), read(PyKCS11.CKA_EC_POINT)
    curve = CURVES[next(name for name, oid in _OIDS.items() if oid == parameters)]
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, point[2:])


def encoded(public: Any) -> bytes:
    """SubjectPublicKeyInfo in DER."""
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(public.public_bytes(encoding, form))
