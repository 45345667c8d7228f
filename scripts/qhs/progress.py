"""How long work tells what it is doing."""

from collections.abc import Callable

type Progress = Callable[[str], None]
"""Takes one line: what, where, for how long, what is left."""


def silent(_: str) -> None:
    """For callers who show nothing."""
