"""How Pulumi's plugin reaches `qhs-ruleset` on the machines: a key of its own, which opens that program alone."""

from __future__ import annotations

from pathlib import Path

from qhs import whole
from qhs.twin import access
from qhs.twin.names import Twin
from qhs.twin.sshkey import make, public

USER = "qhs-ruleset"


def public_key(twin: Twin) -> str:
    """The key that the role `ruleset` ties to the forced command; made on first use."""
    return public(_key(twin))


def write(twin: Twin) -> Path:
    """The OpenSSH configuration for the plugin: names, addresses and host keys are the operator's own."""
    path = access.folder(twin) / "ruleset"
    text = f"Host *\n  User {USER}\n  IdentityFile {_key(twin)}\nInclude {access.config(twin)}\n"
    if not path.is_file() or path.read_text() != text:
        whole.write(path, text)
    return path


def _key(twin: Twin) -> Path:
    return make(access.folder(twin) / "id_ruleset")
