"""`qhs pki`: who is let in, and which certificates are not to be taken any more."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509

from qhs import ansible, whole
from qhs.console import progress
from qhs.environments import Environment
from qhs.errors import UserError
from qhs.lock import alone
from qhs.pki import credentials, files, people, users
from qhs.pki.authority import Authority
from qhs.twin.names import Twin
from stacks.model import Estate, load
from stacks.model.estate import BASTION
from stacks.model.signing import devices, signing_sites

NAME = r"[a-z][a-z0-9-]{1,39}"

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.command()
def person(
    name: Annotated[str, typer.Argument(help="The person, in small letters and hyphens: nguyen-van-a.")],
    group: Annotated[str, typer.Option(help="A group of stacks/catalogue/people.yaml.")],
    key: Annotated[Path, typer.Option(help="The public half of the person's Ed25519 key, as id_ed25519.pub.")],
    hours: Annotated[int | None, typer.Option(min=1, help="For how long; else as long as the group may.")] = None,
) -> None:
    """Let a person in through the bastions, for some hours; the certificate comes to lie beside the key."""
    estate = load(Environment.TWIN)
    most = longest(estate, name, group)
    span = hours or most
    if span > most:
        raise UserError(
            f"found {span} hours, wanted {most} at most for {group} (stacks/catalogue/people.yaml)", "ask for less"
        )
    twin = Twin.here()
    now = datetime.now(UTC)
    until = now + timedelta(hours=span)
    with alone(twin.up_lock, f"`qhs up` of twin {twin.name}"):
        signed = people.admit(files.ensure(twin), key.read_text(), people.Person(name, group, until), now)
        place = key.with_name(f"{key.stem}-cert.pub")
        whole.write(place, signed)
        progress(f"{name} of {group} until {until:%d/%m/%Y %H:%M} UTC, serial {users.serial_of(place)}: {place}")
        bastions = {one.name for one in estate.machines.values() if BASTION in one.roles}
        ansible.play(twin, estate, "bastions.yml", bastions, progress)


def longest(estate: Estate, name: str, group: str) -> int:
    """Hours for which a person of this group may be let in. Raises UserError for a name or a group that is none."""
    groups = estate.catalogue.people
    if group not in groups:
        raise UserError(f"found group {group}, wanted one of {', '.join(groups)}", "see stacks/catalogue/people.yaml")
    if not re.fullmatch(NAME, name):
        raise UserError(f"found the name {name!r}, wanted {NAME}", "write it as nguyen-van-a")
    return groups[group].hours


@app.command()
def revoke(
    certificate: Annotated[Path | None, typer.Argument(help="The file of an SSH user certificate.")] = None,
    serial: Annotated[int | None, typer.Option(min=1, help="Its serial, as sshd's log has it.")] = None,
) -> None:
    """Have no machine take an SSH user certificate any more. A machine that is off learns it from the next `qhs up`."""
    if (certificate is None) == (serial is None):
        raise UserError("found neither a certificate nor a serial, or both; wanted one", "qhs pki revoke --help")
    number = users.serial_of(certificate) if certificate else serial or 0
    twin = Twin.here()
    with alone(twin.up_lock, f"`qhs up` of twin {twin.name}"):
        own = files.ensure(twin)
        said = "revoked" if users.revoke(own, number) else "was revoked before"
        progress(f"serial {number} {said}; telling the machines")
        _tell(twin, load(Environment.TWIN))


def _tell(twin: Twin, estate: Estate) -> None:
    """All machines; once more where one did not answer in time, as it would go on to let in who is not to come in."""
    play = partial(ansible.play, twin, estate, "certificates.yml", set(estate.machines), progress)
    try:
        play()
    except UserError as error:
        progress(f"{error}\nonce more")
        play()


@app.command("revoke-signing")
def revoke_signing(
    certificate: Annotated[Path, typer.Argument(help="The file of a signatory's credential or a key's certificate.")],
) -> None:
    """Have no signer take a signatory's credential, or the certificate of a key, any more (T-E12)."""
    found = signing_certificate(certificate)
    twin = Twin.here()
    with alone(twin.up_lock, f"`qhs up` of twin {twin.name}"):
        own = files.ensure(twin)
        authority = signed_by(own, certificate, found)
        said = "revoked" if authority.revoke(own, found) else "was revoked before"
        progress(f"{found.subject.rfc4514_string()} of {authority.title} {said}; telling the signers")
        estate = load(Environment.TWIN)
        signers = {one for site in signing_sites(estate) for one in devices(estate, site)}
        ansible.play(twin, estate, "signers.yml", signers, progress)


def signing_certificate(path: Path) -> x509.Certificate:
    """The first certificate in a file. Raises UserError."""
    try:
        return credentials.read(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: found no certificate: {error}", "name a file with one in PEM") from None


def signed_by(own: Path, path: Path, certificate: x509.Certificate) -> Authority:
    """Whose it is to revoke. Raises UserError."""
    for one in files.SIGNERS_BELIEVE:
        if one.issued(own, certificate):
            return one
    titles = " or ".join(one.title for one in files.SIGNERS_BELIEVE)
    raise UserError(
        f"{path}: found a certificate of {certificate.issuer.rfc4514_string()}; wanted one that {titles} signed",
        "have it revoked by the authority that signed it",
    )
