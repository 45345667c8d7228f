"""The signed index of the packages that the twin's machines are made of.

The key is made on first use and never leaves the operator's state folder: machines that serve packages hold what it has
signed, machines that install them its public half.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

from pysequoia import SignatureMode, Tsk, sign

from qhs import whole
from qhs.image import Image
from qhs.lock import in_turn
from qhs.progress import silent
from qhs.twin.names import Twin

USER_ID = "packages of the estate"
ORIGIN = "qhs"
"""What the machines' upgrades look for."""


def folder(twin: Twin, image: Image) -> Path:
    """The folder with Packages, InRelease and key.asc for an image; made anew where another image's lie there."""
    place = twin.state / "packages"
    with in_turn(place / ".lock", "packages", silent):
        _renew(twin, image, place)
    return place


def _renew(twin: Twin, image: Image, place: Path) -> None:
    key = _key(twin)
    index = image.packages.with_name("Packages").read_bytes()
    whole.write(place / "key.asc", str(key.extract_certificate()).encode())
    if not (place / "Packages").is_file() or (place / "Packages").read_bytes() != index:
        # Signed last and so found last: what a killed run leaves is done again.
        (place / "InRelease").unlink(missing_ok=True)
        whole.write(place / "Packages", index)
    if not (place / "InRelease").is_file():
        whole.write(place / "InRelease", sign(key.signer(), _release(index), mode=SignatureMode.CLEAR))


def _release(index: bytes) -> bytes:
    """What apt checks the index against. No end date: it must work also when nobody signed lately."""
    date = format_datetime(datetime.now(UTC), usegmt=True).replace("GMT", "UTC")
    digest = hashlib.sha256(index).hexdigest()
    return (
        f"Origin: {ORIGIN}\nLabel: {ORIGIN}\nSuite: stable\nCodename: {ORIGIN}\nDate: {date}\n"
        f"Description: {USER_ID}\nSHA256:\n {digest} {len(index)} Packages\n"
    ).encode()


def _key(twin: Twin) -> Tsk:
    path = twin.state / "secrets" / "packages"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        whole.write(path, bytes(Tsk.generate(USER_ID)), mode=0o600)
    return Tsk.from_bytes(path.read_bytes())
