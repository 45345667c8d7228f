"""Where secret stores are and how one gets in: the file that `qhs:trustAccess` names."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from stacks.approvals import Approvers
from stacks.provider.data.spec import DatabaseAccess
from stacks.provider.inputs import Input
from stacks.provider.settings import ProviderError
from stacks.provider.storage.spec import ObjectStoreAccess


class ClusterAccess(Input):
    """How the API of a cluster is reached."""

    machines: list[str]
    """The control planes, as `qhs:sshConfig` names them."""
    address: str
    name: str
    """What its certificate is for."""


class TrustAccess(Input):
    """What a plugin must know to set up secret stores, and what they are to believe."""

    root: Path
    """The certificate of the estate's root: it vouches for machines."""
    provisioner: Path
    """A key and a certificate for it, which the stores let in to set them up."""
    approvals: Approvers
    """Who lets what cannot be undone be done."""
    stores: dict[str, dict[str, str]]
    """By site its nodes: the machine, as `qhs:sshConfig` names it, and the address that its store answers on."""
    objects: dict[str, ObjectStoreAccess]
    """By site its object store."""
    databases: dict[str, DatabaseAccess]
    """By site its databases."""

    clusters: dict[str, ClusterAccess]
    """By site the API of its cluster."""

    @classmethod
    def read(cls, path: Path | None) -> TrustAccess:
        """Raises ProviderError."""
        try:
            return cls.model_validate_json(path.read_text() if path else "")
        except (OSError, ValidationError) as error:
            raise ProviderError(
                f"qhs:trustAccess: found {path or 'nothing'}: {error}; wanted a file that names root, provisioner, "
                "approvals, stores, objects, databases and clusters. "
                "Way out: `qhs up`, or `pulumi config set qhs:trustAccess FILE`"
            ) from None
