"""The inputs of what stands in a site's databases: what each may be. No network, no Pulumi."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from stacks.model.catalogue import Information
from stacks.model.data import RESERVED
from stacks.provider.inputs import Input
from stacks.provider.secret.spec import StoreInput, Word, ordered


def _free(name: str) -> str:
    if name in RESERVED or name.startswith("pg-"):
        raise ValueError(f"a name that the databases do not use themselves ({', '.join(sorted(RESERVED))})")
    return name


Name = Annotated[Word, AfterValidator(_free)]


class RoleSpec(StoreInput):
    """An application that comes in with a password."""

    name: Name
    connections: int = Field(ge=1, le=500, description="how many it may have at a time")
    stores: Annotated[list[Word], AfterValidator(ordered), Field(min_length=1)]


class DatabaseSpec(StoreInput):
    """A database that one application uses."""

    name: Name
    tenant: Word
    role: Name
    information: Information


class DatabaseAccess(Input):
    """Where the databases of a site are."""

    name: str
    """What the certificates of all members are for."""
    members: dict[Word, str]
    """By machine the address that it answers on; one of them takes writes."""
