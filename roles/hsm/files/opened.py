"""A token that is logged in to: its keys, and how one gets to another token of its domain.

Keys are SENSITIVE and never EXTRACTABLE but inside `make_key`, which wraps a shared one under the key of the token's
domain, keeps it so, and then seals it. That domain key (KEK) only wraps and unwraps, whatever it unwraps is protected
as before, and it can itself be wrapped only for a device that a security officer trusts.
"""

import hashlib
import os
from typing import Any

import asking
import PyKCS11
from attributes import (
    KEK,
    TRANSPORT,
    TRANSPORT_ALGORITHM,
    certificate_of,
    domain_key,
    encoded,
    generating,
    named,
    numbers,
    of_numbers,
    private_key,
    public_key,
    size,
    transport_key,
    trusted_key,
)
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from refused import RefusedError

# SoftHSM has no OAEP but with SHA-1; OAEP does not need that it resists collisions.
OAEP = PyKCS11.RSAOAEPMechanism(PyKCS11.CKM_SHA_1, PyKCS11.CKG_MGF1_SHA1)
WRAP = PyKCS11.Mechanism(PyKCS11.CKM_AES_KEY_WRAP_PAD, None)
INFOS = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""Before a digest that PKCS#1 v1.5 signs; what is not here is signed by nobody."""
_OF_A_KEY = (PyKCS11.CKO_CERTIFICATE, PyKCS11.CKO_DATA, PyKCS11.CKO_PUBLIC_KEY, PyKCS11.CKO_PRIVATE_KEY)
_SHOWN = {
    "sensitive": PyKCS11.CKA_SENSITIVE,
    "extractable": PyKCS11.CKA_EXTRACTABLE,
    "private": PyKCS11.CKA_PRIVATE,
    "modifiable": PyKCS11.CKA_MODIFIABLE,
}
_SHOWN_USES = {
    "sign": PyKCS11.CKA_SIGN,
    "decrypt": PyKCS11.CKA_DECRYPT,
    "wrap": PyKCS11.CKA_WRAP,
    "unwrap": PyKCS11.CKA_UNWRAP,
}


class Opened:
    """A session in which its user, or its security officer, is logged in. Raises RefusedError and PyKCS11Error."""

    def __init__(self, session: Any, token: str) -> None:
        self._session, self._token = session, token

    # --- what is there ---
    def told(self) -> list[dict[str, Any]]:
        """Each private key and each secret one, by its label."""
        private = [self._told_of(one) for one in self._whole(PyKCS11.CKO_PRIVATE_KEY)]
        secret = [
            {**self._attributes(one), "trusting": self._is(one, PyKCS11.CKA_WRAP_WITH_TRUSTED)}
            for one in self._whole(PyKCS11.CKO_SECRET_KEY)
        ]
        return sorted([*private, *secret], key=lambda one: str(one["label"]))

    def _told_of(self, private: Any) -> dict[str, Any]:
        """A private key and what belongs to it."""
        label = self._label(private)
        public, certificate = (self._only(kind, label) for kind in (PyKCS11.CKO_PUBLIC_KEY, PyKCS11.CKO_CERTIFICATE))
        return {
            **self._attributes(private),
            "public": encoded(self._public(public)).hex() if public else None,
            "certificate": self._bytes(certificate, PyKCS11.CKA_VALUE).hex() if certificate else None,
            "wrapped": self._only(PyKCS11.CKO_DATA, label) is not None,
        }

    def _attributes(self, key: Any) -> dict[str, Any]:
        return {
            "label": self._label(key),
            **{name: self._is(key, one) for name, one in _SHOWN.items()},
            "uses": sorted(name for name, one in _SHOWN_USES.items() if self._is(key, one)),
        }

    # --- keys ---
    def make_key(self, label: str, algorithm: str, use: str, *, shared: bool) -> tuple[bool, dict[str, Any]]:
        """Whether there was none, and what there is. A shared key is kept wrapped, for the other tokens."""
        there = self._only(PyKCS11.CKO_PRIVATE_KEY, label)
        if there and not self._is(there, PyKCS11.CKA_EXTRACTABLE):
            return False, self._told_of(there)
        kek = self._kek() if shared else None
        self.remove(label)  # what a crash left, before anybody was told of it
        _, private = self._session.generateKeyPair(
            public_key(label, use, *size(algorithm)),
            private_key(label, use, extractable=shared),
            generating(algorithm),
        )
        if kek:
            self._keep(label, bytes(self._session.wrapKey(kek, private, WRAP)))
            self._session.setAttributeValue(private, [(PyKCS11.CKA_EXTRACTABLE, False)])
        return True, self._told_of(private)

    def take_key(self, label: str, use: str, public: bytes, wrapped: bytes) -> bool:
        """Unwrap a key that another token of the domain made; whether it was lacking."""
        if self._only(PyKCS11.CKO_PRIVATE_KEY, label):
            there = self._only(PyKCS11.CKO_PUBLIC_KEY, label)
            if not there or encoded(self._public(there)) != public:
                raise RefusedError(
                    "other-key", f"{label}: {self._token} has another key of this label; nothing changed"
                )
            return False
        key, kek = serialization.load_der_public_key(public), self._kek()
        self.remove(label)  # what a crash left: the private key comes last
        self._session.createObject(public_key(label, use, *numbers(key)))
        self._keep(label, wrapped)
        kind = PyKCS11.CKK_RSA if isinstance(key, rsa.RSAPublicKey) else PyKCS11.CKK_EC
        template = [*private_key(label, use, extractable=False), (PyKCS11.CKA_KEY_TYPE, kind)]
        try:
            private = self._session.unwrapKey(kek, wrapped, template, WRAP)
        except PyKCS11.PyKCS11Error as error:
            self.remove(label)
            raise RefusedError("kek", f"{label}: the key of this domain does not open it ({error})") from None
        if use == "sign" and not self._agree(private, key):
            self.remove(label)
            raise RefusedError("other-key", f"{label}: what was unwrapped does not belong to that public key")
        return True

    def wrapped(self, label: str) -> bytes:
        """A shared key as it is kept, wrapped under the key of its domain."""
        kept = self._only(PyKCS11.CKO_DATA, label)
        if not kept:
            raise RefusedError("no-key", f"{label}: {self._token} keeps no wrapped key of this label")
        return self._bytes(kept, PyKCS11.CKA_VALUE)

    def prove(self, label: str) -> bool:
        """Whether a signature of now verifies under the public key."""
        return self._agree(*self.pair(label))

    def request(self, label: str, subject: str) -> bytes:
        """A request (PKCS#10) for a certificate of a key, in the name of a subject: common name/organisation/unit."""
        private, key = self.pair(label)
        info = asking.asked(subject, encoded(key))
        return asking.signed(info, key, self.sign((private, key), "sha256", hashlib.sha256(info.dump()).digest()))

    def take_certificate(self, label: str, certificate: bytes) -> bool:
        """In the place of any other one; whether it was not there yet. Refuses one of another key."""
        try:
            of = encoded(x509.load_der_x509_certificate(certificate).public_key())
        except ValueError as error:
            raise RefusedError("input", f"{label}: no certificate ({error})") from None
        if of != encoded(self.pair(label)[1]):
            raise RefusedError("other-key", f"{label}: the certificate is of another key; nothing changed")
        there = self._only(PyKCS11.CKO_CERTIFICATE, label)
        if there and self._bytes(there, PyKCS11.CKA_VALUE) == certificate:
            return False
        if there:
            self._session.destroyObject(there)
        self._session.createObject(certificate_of(label, certificate))
        return True

    def pair(self, label: str) -> tuple[Any, Any]:
        """A private key, by which it signs, and its public one."""
        private, public = self._only(PyKCS11.CKO_PRIVATE_KEY, label), self._only(PyKCS11.CKO_PUBLIC_KEY, label)
        if not private or not public:
            raise RefusedError("no-key", f"{label}: {self._token} has no key pair of this label")
        return private, self._public(public)

    def sign(self, pair: tuple[Any, Any], algorithm: str, digest: bytes) -> bytes:
        """A signature over a digest, in the form that X.509 has."""
        private, public = pair
        if isinstance(public, rsa.RSAPublicKey):
            mechanism = PyKCS11.Mechanism(PyKCS11.CKM_RSA_PKCS, None)
            return bytes(self._session.sign(private, INFOS[algorithm] + digest, mechanism))
        signed = bytes(self._session.sign(private, digest, PyKCS11.Mechanism(PyKCS11.CKM_ECDSA, None)))
        half = len(signed) // 2
        return utils.encode_dss_signature(int.from_bytes(signed[:half]), int.from_bytes(signed[half:]))

    def decrypt(self, label: str, encrypted: bytes) -> bytes:
        """What somebody encrypted for a key of use `decrypt`."""
        private = self._only(PyKCS11.CKO_PRIVATE_KEY, label)
        if not private:
            raise RefusedError("no-key", f"{label}: {self._token} has no key pair of this label")
        return bytes(self._session.decrypt(private, encrypted, OAEP))

    def remove(self, label: str) -> int:
        """How many objects are gone; with them goes what has no label, as somebody died who was writing it."""
        there = [one for kind in _OF_A_KEY for one in self._find(kind)]
        found = [one for one in there if self._label(one) in (label, "")]
        for one in found:
            self._session.destroyObject(one)
        return len(found)

    # --- the key of the domain ---
    def transport(self) -> bytes:
        """The public key for which others wrap their domain's key; made where there is none."""
        if not self._only(PyKCS11.CKO_PRIVATE_KEY, TRANSPORT):
            self.remove(TRANSPORT)
            public = public_key(TRANSPORT, "unwrap", *size(TRANSPORT_ALGORITHM))
            self._session.generateKeyPair(public, transport_key(), generating(TRANSPORT_ALGORITHM))
        return encoded(self._public(self._only(PyKCS11.CKO_PUBLIC_KEY, TRANSPORT)))

    def make_kek(self) -> bool:
        """Whether there was none."""
        if self._only(PyKCS11.CKO_SECRET_KEY, KEK):
            return False
        self._session.generateKey(
            [(PyKCS11.CKA_VALUE_LEN, 32), *domain_key()], PyKCS11.Mechanism(PyKCS11.CKM_AES_KEY_GEN, None)
        )
        return True

    def trust(self, device: str, public: bytes) -> bool:
        """As its security officer: let the domain's key be wrapped for another device. Whether it was not yet."""
        label, there = f"for {device}", self._only(PyKCS11.CKO_PUBLIC_KEY, f"for {device}")
        if there and encoded(self._public(there)) == public:
            return False
        if there:
            self._session.destroyObject(there)
        self._session.createObject(trusted_key(label, serialization.load_der_public_key(public)))
        return True

    def kek_for(self, device: str) -> bytes:
        """The domain's key, wrapped for a device that is trusted."""
        target = self._only(PyKCS11.CKO_PUBLIC_KEY, f"for {device}")
        if not target:
            raise RefusedError("trust", f"{device}: no security officer of {self._token} has trusted it")
        return bytes(self._session.wrapKey(target, self._kek(), OAEP))

    def take_kek(self, wrapped: bytes) -> bool:
        """Whether there was none."""
        if self._only(PyKCS11.CKO_SECRET_KEY, KEK):
            return False
        transport = self._only(PyKCS11.CKO_PRIVATE_KEY, TRANSPORT)
        if not transport:
            raise RefusedError("no-key", f"{self._token}: it has no transport key, so nothing is wrapped for it")
        try:
            self._session.unwrapKey(transport, wrapped, domain_key(), OAEP)
        except PyKCS11.PyKCS11Error as error:
            raise RefusedError("kek", f"{self._token}: that was not wrapped for this device ({error})") from None
        return True

    def _kek(self) -> Any:
        found = self._only(PyKCS11.CKO_SECRET_KEY, KEK)
        if not found:
            raise RefusedError("no-kek", f"{self._token}: the key of its domain is not on this device")
        return found

    # --- PINs, as who may set them ---
    def give_pin(self, pin: str) -> None:
        """As the security officer: the first PIN of the user, or another one."""
        self._session.initPin(pin)

    def change_pin(self, old: str, new: str) -> None:
        """Sessions that are open stay so."""
        self._session.setPin(old, new)

    # --- objects ---
    def _keep(self, label: str, wrapped: bytes) -> None:
        self._session.createObject([*named(PyKCS11.CKO_DATA, label), (PyKCS11.CKA_VALUE, wrapped)])

    def _whole(self, kind: int) -> list[Any]:
        """Without what was being written when somebody died: that has no label yet."""
        return [one for one in self._find(kind) if self._label(one)]

    def _find(self, kind: int) -> list[Any]:
        return list(self._session.findObjects([(PyKCS11.CKA_CLASS, kind)]))

    def _only(self, kind: int, label: str) -> Any:
        found = self._session.findObjects([(PyKCS11.CKA_CLASS, kind), (PyKCS11.CKA_LABEL, label)])
        if len(found) > 1:
            raise RefusedError("objects", f"{label}: found {len(found)} of a kind in {self._token}; wanted one")
        return found[0] if found else None

    def _public(self, handle: Any) -> Any:
        return of_numbers(lambda attribute: self._bytes(handle, attribute))

    def _agree(self, private: Any, public: Any) -> bool:
        digest, known = hashlib.sha256(os.urandom(32)).digest(), utils.Prehashed(hashes.SHA256())
        signed = self.sign((private, public), "sha256", digest)
        try:
            if isinstance(public, rsa.RSAPublicKey):
                public.verify(signed, digest, padding.PKCS1v15(), known)
            else:
                public.verify(signed, digest, ec.ECDSA(known))
        except InvalidSignature:
            return False
        return True

    def _label(self, handle: Any) -> str:
        return str(self._session.getAttributeValue(handle, [PyKCS11.CKA_LABEL])[0])

    def _bytes(self, handle: Any, attribute: int) -> bytes:
        return bytes(self._session.getAttributeValue(handle, [attribute])[0] or ())

    def _is(self, handle: Any, attribute: int) -> bool:
        return bool(self._session.getAttributeValue(handle, [attribute])[0])
