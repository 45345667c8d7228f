"""A plain `pulumi` in `qhs shell`: run where the state of the stack is that it names.

python -m qhs.state.pulumi PROGRAM WORDS...
"""

from __future__ import annotations

import os
import sys
from itertools import pairwise

from qhs import cluster, trust_access
from qhs.state import homes
from qhs.twin.names import Twin


def main(program: str, *words: str) -> None:
    """Become it."""
    twin = Twin.here()
    trust_access.current(twin)
    site = homes.read(twin).get(stack := named(words))
    if site:
        homes.changing(twin, stack)  # as far as anybody knows: the next `qhs up` copies it
    command = [*(homes.reached(twin, site, stack) if site else []), *cluster.reached(stack), program, *words]
    os.execvp(command[0], command)  # noqa: S606 - it replaces us, so that signals and its exit code pass


def named(words: tuple[str, ...]) -> str:
    """The stack that words of a command line select; empty: none."""
    for word, after in pairwise([*words, ""]):
        if word in ("-s", "--stack"):
            return after
        if word.startswith("--stack="):
            return word.removeprefix("--stack=")
    return ""


if __name__ == "__main__":
    main(*sys.argv[1:])
