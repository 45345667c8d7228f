"""Who may log in: short certificates of the user authority, and the list of those that are not taken any more."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    SSHCertificate,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_private_key,
    load_ssh_public_identity,
    load_ssh_public_key,
)

from qhs import whole
from qhs.errors import UserError
from qhs.pki.files import revoked, user_authority

VALID_FOR = timedelta(hours=12)
EARLIER = timedelta(minutes=5)  # for clocks that are behind


def current(own: Path, key: Path, principal: str, now: datetime | None = None) -> Path:
    """The certificate beside the private key `key`, for the account `principal`: signed anew unless at least half of
    its time is left and it is not revoked."""
    now = now or datetime.now(UTC)
    path = key.with_name(f"{key.name}-cert.pub")
    if not (path.is_file() and _good(own, path, now)):
        public = key.with_name(f"{key.name}.pub").read_text()
        grant = Grant(f"qhs {principal}", (principal,), now + VALID_FOR)
        whole.write(path, sign(own, public, grant, now) + b"\n")
    return path


@dataclass(frozen=True)
class Grant:
    """What a user certificate says."""

    name: str
    """Whose it is, as sshd's log has it."""
    principals: tuple[str, ...]
    until: datetime
    extensions: tuple[bytes, ...] = (b"permit-pty",)


def sign(own: Path, public: str, grant: Grant, now: datetime) -> bytes:
    """A user certificate for a public key in OpenSSH's format. Raises UserError for a key of another kind."""
    authority = load_ssh_private_key(user_authority(own).read_bytes(), None)
    wanted = load_ssh_public_key(public.encode())
    if not isinstance(authority, ed25519.Ed25519PrivateKey) or not isinstance(wanted, ed25519.Ed25519PublicKey):
        raise UserError("found another kind of SSH key, wanted Ed25519", "make the key anew with ssh-keygen -t ed25519")
    builder = (
        SSHCertificateBuilder()
        .public_key(wanted)
        .serial(secrets.randbits(63))
        .type(SSHCertificateType.USER)
        .key_id(grant.name.encode())
        .valid_principals([one.encode() for one in grant.principals])
        .valid_after(int((now - EARLIER).timestamp()))
        .valid_before(int(grant.until.timestamp()))
    )
    for one in grant.extensions:
        builder = builder.add_extension(one, b"")
    return builder.sign(authority).public_bytes()


def revoke(own: Path, serial: int) -> bool:
    """Put a serial on the list; whether it was not on it before."""
    if serial in _revoked(own):
        return False
    whole.write(revoked(own), revoked(own).read_bytes() + f"serial: {serial}\n".encode())
    return True


def serial_of(path: Path) -> int:
    """The serial of the user certificate in a file. Raises UserError where there is none."""
    try:
        found = load_ssh_public_identity(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UserError(
            f"{path}: found no SSH certificate: {error}", "name a file such as id_ed25519-cert.pub"
        ) from None
    if not isinstance(found, SSHCertificate) or found.type is not SSHCertificateType.USER:
        raise UserError(f"{path}: found no user certificate", "name a file such as id_ed25519-cert.pub")
    return found.serial


def _good(own: Path, path: Path, now: datetime) -> bool:
    found = load_ssh_public_identity(path.read_bytes())
    assert isinstance(found, SSHCertificate)  # noqa: S101 - nobody else writes it
    left = datetime.fromtimestamp(found.valid_before, UTC) - now
    return left > VALID_FOR / 2 and found.serial not in _revoked(own)


def _revoked(own: Path) -> set[int]:
    return {int(one) for one in re.findall(r"^serial: (\d+)$", revoked(own).read_text(), re.MULTILINE)}
