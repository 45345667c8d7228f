"""Persons: a certificate of some hours, and an entry on the bastions for as long. A certificate alone opens none."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from qhs import whole
from qhs.pki.files import people
from qhs.pki.users import Grant, sign

AS_SSHD = "%Y%m%d%H%M%SZ"
"""How sshd writes the end of an entry."""
# The agent comes as far as the bastion: see the role `bastion`.
EXTENSIONS = (b"permit-agent-forwarding", b"permit-pty")


@dataclass(frozen=True)
class Person:
    """Somebody who is let in for a while."""

    name: str
    group: str
    until: datetime


def admit(own: Path, public: str, person: Person, now: datetime) -> bytes:
    """Enter a person, and sign a certificate for the public key. What has ended is crossed out."""
    entries: dict[str, dict[str, str]] = json.loads(people(own).read_text())
    entries.setdefault(person.group, {})[person.name] = person.until.astimezone(UTC).strftime(AS_SSHD)
    left = {
        group: {name: end for name, end in persons.items() if end > now.strftime(AS_SSHD)}
        for group, persons in entries.items()
    }
    whole.write(people(own), json.dumps(left, indent=1) + "\n")
    return certificate(own, public, person, now)


def certificate(own: Path, public: str, person: Person, now: datetime) -> bytes:
    """For the group's account on machines, and for the entry of this one person on bastions.

    No account is called like an entry, so that nobody is let in for having the name of an account.
    """
    principals = person.group, f"{person.group}:{person.name}"
    return sign(own, public, Grant(person.name, principals, person.until, EXTENSIONS), now) + b"\n"
