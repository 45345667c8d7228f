"""What every kind is configured by, and how it tells a user what is wrong. No network, no Pulumi."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class ProviderError(Exception):
    """What the user is told, as one message: what, where, found, wanted, way out."""


@dataclass(frozen=True)
class Settings:
    """The provider's configuration in a stack."""

    ssh_config: Path | None = None
    """`qhs:sshConfig`: an OpenSSH configuration that maps machine names to addresses, user, key and host keys."""
    names_access: Path | None = None
    """`qhs:namesAccess`: a file that says which machines take updates of names, and where the key for these is."""
    trust_access: Path | None = None
    """`qhs:trustAccess`: a file that says where secret stores are, and how one gets in."""

    def machines(self) -> Path:
        """The OpenSSH configuration. Raises ProviderError."""
        if self.ssh_config is None or not self.ssh_config.is_file():
            raise ProviderError(
                f"qhs:sshConfig: found {self.ssh_config or 'nothing'}; wanted an OpenSSH configuration of the machines"
                ". Way out: `qhs up`, or `pulumi config set qhs:sshConfig FILE`"
            )
        return self.ssh_config
