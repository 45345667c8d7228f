"""Certificates as the machines of an estate have them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from issuing import private

from qhs.pki import root
from tests.unit.test_pki import alternative, authority, csr, openssh


def new_root(folder: Path) -> Path:
    """Of an estate."""
    folder.mkdir()
    key, certificate = root.made()
    root.key(folder).write_bytes(key)
    root.certificate(folder).write_bytes(certificate)
    return folder


def certify(tls: Path, root_of_all: Path, *names: str, site: str = "qhdc") -> None:
    """Have a machine's key, and a certificate for its names that the authority of a site signed, in a folder."""
    tls.mkdir(parents=True, exist_ok=True)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    host_key = openssh(ed25519.Ed25519PrivateKey.generate())
    asked = {"csr": csr(names[0], key, alternative(*names)), "ssh": host_key}
    signed = authority(root_of_all, site, now).issue(asked, names, now)["certificate"]
    for file, text in (("crt", signed), ("key", private(key).decode())):
        (tls / f"machine.{file}").write_text(text)
    (tls / "ca.crt").write_bytes(root.certificate(root_of_all).read_bytes())
