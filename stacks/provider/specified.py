"""Kinds whose inputs a pydantic model describes."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ValidationError

from stacks.provider.base import Checked, Handler
from stacks.provider.inputs import Input, faults
from stacks.provider.values import Plain


class SpecifiedHandler(Handler):
    """What the model takes is in its normal form."""

    SPEC: ClassVar[type[Input]]

    def check(self, inputs: Plain) -> Checked:
        try:
            return Checked(self.SPEC.model_validate(inputs).model_dump(mode="json"))
        except ValidationError as error:
            return Checked(inputs, faults(error))
