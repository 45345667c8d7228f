"""Signatures of persons over a text, each made and verified by OpenSSH with a key of their own.

Signers are a file of those that are known, a line each, as `ssh-keygen -Y verify` takes it.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,39}$")]
"""By which signers are known: of a post or a unit, never of a person."""


class SignatureError(Exception):
    """A key does not sign."""


def line(name: str, namespace: str, public: str) -> str:
    """Who may sign what, with a public key in OpenSSH's format."""
    kind, key, *_ = public.split()
    return f'{name} namespaces="{namespace}" {kind} {key}'


def known(signers: Path) -> Iterator[tuple[str, str]]:
    """By name the key: whoever is there under two names has one."""
    for one in signers.read_text().splitlines() if signers.is_file() else ():
        match one.split():
            case [name, *_, kind, key] if kind.startswith(("ssh-", "ecdsa-", "sk-")):
                yield name, key


def sign(text: bytes, namespace: str, key: Path) -> str:
    """By a private key, or the public one of an agent's. Raises SignatureError."""
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key)]
    done = subprocess.run(command, input=text, capture_output=True, check=False)
    if done.returncode:
        raise SignatureError(f"{key}: found no key that signs: {done.stderr.decode().strip()}")
    return done.stdout.decode()


def holding(text: bytes, namespace: str, signatures: Mapping[str, str], signers: Path) -> set[str]:
    """Whose signature over that very text is one of a key of theirs."""
    return {name for name, one in signatures.items() if _holds(text, namespace, name, one, signers)}


def _holds(text: bytes, namespace: str, name: str, signature: str, signers: Path) -> bool:
    with tempfile.NamedTemporaryFile("w", suffix=".sig") as file:
        file.write(signature)
        file.flush()
        command = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", name, "-n", namespace, "-s", file.name]
        return subprocess.run(command, input=text, capture_output=True, check=False).returncode == 0
