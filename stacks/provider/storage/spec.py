"""The inputs of what stands in an object store: what each may be. No network, no Pulumi."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from stacks.provider.inputs import Input
from stacks.provider.secret.spec import StoreInput, Word, ordered

BucketName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$")]
Right = Annotated[str, Field(pattern=r"^(Admin|(Read|Write|List):[a-z0-9][a-z0-9-]{1,61}[a-z0-9])$")]


class IdentitySpec(StoreInput):
    """Somebody who may come into the store of a site, and what for."""

    name: Word
    rights: Annotated[list[Right], AfterValidator(ordered), Field(min_length=1)]


class BucketSpec(StoreInput):
    """A bucket."""

    name: BucketName
    tenant: Word | Literal[""] = Field("", description="whose it is, by its name in the catalogue; empty: the estate's")
    versioned: bool = Field(description="whether what is written over or deleted is kept")
    archive_years: int = Field(ge=0, le=100, description="for how long nobody can change or delete what is written")

    locked_days: int = Field(
        0, ge=0, le=365, description="for how long nobody can change or delete what is written there, of no archive"
    )

    @model_validator(mode="after")
    def _keeps(self) -> Self:
        if (self.archive_years or self.locked_days) and not self.versioned:
            raise ValueError("what keeps objects from everybody keeps versions")
        if self.archive_years and self.locked_days:
            raise ValueError("years of an archive, or days")
        return self


class ObjectStoreAccess(Input):
    """Where the object store of a site is."""

    machine: Word
    address: str
    name: str
    """What its certificate is for."""
