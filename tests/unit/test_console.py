"""What a person sees is what was said."""

import pytest

from qhs import console
from qhs.twin.cli import SHOWN, _short


def test_an_address_is_no_emoji() -> None:
    with console.screen.capture() as seen:
        console.screen.print("fd51:1:0:a::2", markup=False)
    assert seen.get() == "fd51:1:0:a::2\n"


@pytest.mark.parametrize(("count", "end"), [(SHOWN, f"a{SHOWN - 1}"), (SHOWN + 2, " and 2 more")])
def test_a_table_shows_some_of_many_addresses(count: int, end: str) -> None:
    assert _short(tuple(f"a{number}" for number in range(count))).endswith(end)
