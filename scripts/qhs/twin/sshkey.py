"""SSH keys without a passphrase, made once."""

import subprocess
from pathlib import Path


def make(path: Path) -> Path:
    """The private key at `path`; the public half lies beside it. A killed run leaves a whole pair or none."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "qhs", "-f", str(fresh)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        fresh.with_name(f"{fresh.name}.pub").rename(_half(path))
        fresh.rename(path)
    return path


def public(path: Path) -> str:
    """The public half of the key at `path`, without its comment."""
    return " ".join(_half(path).read_text().split()[:2])


def _half(path: Path) -> Path:
    return path.with_name(f"{path.name}.pub")
