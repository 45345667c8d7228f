"""Kinds whose inputs a pydantic model describes."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from pydantic import ValidationError

from stacks.approvals import ApprovalError
from stacks.provider.access import TrustAccess
from stacks.provider.base import Checked, Handler
from stacks.provider.inputs import Input, Plain, faults
from stacks.provider.settings import ProviderError

CATALOGUE = "stacks/catalogue/tenants.yaml"
"""Where applications are declared, with what they have."""


class SpecifiedHandler(Handler):
    """What the model takes is in its normal form."""

    SPEC: ClassVar[type[Input]]

    def check(self, inputs: Plain) -> Checked:
        try:
            return Checked(self.SPEC.model_validate(inputs).model_dump(mode="json"))
        except ValidationError as error:
            return Checked(inputs, faults(error))

    def require_approval(self, urn: str, why: str = "") -> None:
        """For what cannot be made again; `why` stands before what is wanted. Raises ProviderError."""
        try:
            TrustAccess.read(self.settings.trust_access).approvals.require("delete", urn)
        except ApprovalError as error:
            raise ProviderError(f"{why}{error}") from None


class KeepingHandler(SpecifiedHandler):
    """Kinds of which one that holds something goes by approval alone."""

    @abstractmethod
    def judge(self, urn: str, inputs: Plain) -> None:
        """Whether it may go. Raises ProviderError where it holds something and nobody has approved, or none can."""
