"""A stack's name is parsed once, and refused with the wanted form."""

import pytest

from stacks.name import StackName


@pytest.mark.parametrize("text", ["twin.qhdc.network", "prod.ndc.signing", "twin.replica"])
def test_a_name_survives_parsing(text: str) -> None:
    assert str(StackName.parse(text)) == text


@pytest.mark.parametrize("text", ["twin", "twin.qhdc", "twin.qhdc.storage", "a.b.c.network"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"wanted <environment>\.<site>"):
        StackName.parse(text)
