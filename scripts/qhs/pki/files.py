"""Where the bootstrap authority lies."""

from __future__ import annotations

from pathlib import Path

from qhs import whole
from qhs.pki import root, stand_in
from qhs.pki.credentials import PROVISIONERS, SIGNATORIES
from qhs.twin.names import Twin
from qhs.twin.sshkey import make

SIGNERS_BELIEVE = (SIGNATORIES, stand_in.AUTHORITY)
"""Signers ask whether these have revoked what they are shown."""


def folder(twin: Twin) -> Path:
    return twin.state / "pki"


def ensure(twin: Twin) -> Path:
    """The folder with all that is made at first use; a killed run leaves whole files or none."""
    own = folder(twin)
    hosts(own).mkdir(parents=True, exist_ok=True, mode=0o700)
    own.chmod(0o700)
    if not root.certificate(own).is_file():
        key, certificate = root.made()
        whole.write(root.key(own), key, 0o600)
        whole.write(root.certificate(own), certificate)
    for authority in (PROVISIONERS, SIGNATORIES, stand_in.AUTHORITY):
        authority.ensure(own)
    for authority in SIGNERS_BELIEVE:
        authority.ensure_list(own)
    make(user_authority(own))
    if not revoked(own).is_file():
        whole.write(revoked(own), "# Serials of user certificates not to be taken any more, for ssh-keygen -k.\n")
    if not people(own).is_file():
        whole.write(people(own), "{}\n")
    return own


def user_authority(own: Path) -> Path:
    """The key that signs user certificates; its public half lies beside it."""
    return own / "users"


def revoked(own: Path) -> Path:
    """Serials of revoked user certificates, a line each."""
    return own / "revoked"


def people(own: Path) -> Path:
    """By group of persons, until when each is let in; bastions get it as it is."""
    return own / "people.json"


def hosts(own: Path) -> Path:
    """A file a site in the format of known_hosts, with the authority of its machines' host keys."""
    return own / "hosts"


def trust_hosts(own: Path, site: str, authority: str) -> None:
    """From now on a host key of this site's machines that the authority has signed is believed, and no other site's."""
    whole.write(hosts(own) / site, f"@cert-authority {site}-* {authority}\n")
