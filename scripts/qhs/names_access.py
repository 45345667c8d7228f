"""The shared key that signs updates of names, in the operator's state folder, and what Pulumi's plugin uses it by."""

from __future__ import annotations

import base64
import json
import secrets
from pathlib import Path

from qhs import whole
from qhs.twin.names import Twin
from stacks.model import Estate

BYTES = 32  # as long as the digest of HMAC-SHA256
KEY = "qhs-update"
AUTHORITY = "names-primary"


def key_file(twin: Twin) -> Path:
    """The file that holds the key in base64, made on first use; a killed run leaves a whole one or none."""
    path = twin.state / "secrets" / "names-update"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        whole.write(path, base64.b64encode(secrets.token_bytes(BYTES)).decode() + "\n", mode=0o600)
    return path


def file(twin: Twin) -> Path:
    """Where `write` puts what the plugin needs to know."""
    return twin.state / "names-access.json"


def authorities(estate: Estate) -> dict[str, tuple[str, list[str]]]:
    """By site the machine that is the authority for names there, and the addresses that it answers on."""
    return {
        machine.site: (machine.name, one.targets[0].texts())
        for machine in estate.machines.values()
        for one in machine.services
        if one.service == AUTHORITY
    }


def known_as(machine: str) -> str:
    """An authority, below the estate's domain: by its service it is known in a domain which it answers for itself."""
    return f"{machine}.ns"


def write(twin: Twin, estate: Estate) -> Path:
    """What the plugin needs to know: the authority of each site's domain, and where the key is."""
    machines = {estate.domain(site): machine for site, (machine, _) in authorities(estate).items()}
    path = file(twin)
    text = json.dumps({"key": KEY, "secret": str(key_file(twin)), "authorities": machines}, indent=1) + "\n"
    if not path.is_file() or path.read_text() != text:
        whole.write(path, text)
    return path
