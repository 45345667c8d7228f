"""A handler is imported when its kind is first asked for: here, so that a wrong name is found before a stack has it."""

from __future__ import annotations

import pytest

from stacks.provider.__main__ import KINDS
from stacks.provider.settings import Settings


@pytest.mark.parametrize("token", KINDS)
def test_every_kind_has_a_handler(token: str) -> None:
    KINDS[token](Settings())
