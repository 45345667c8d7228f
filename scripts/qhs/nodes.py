"""What a cluster says of its nodes, and what the estate does."""

from __future__ import annotations

import sys
import time

from qhs.errors import UserError
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.estate import WORKER

PATIENCE = 150
"""Seconds for a control plane that is certified just now to answer: its machine asks once a minute."""


def forget(estate: Estate, twin: Twin, site: str) -> list[str]:
    """Have the cluster of a site forget the nodes that the estate does not have any more, and with them their pods.

    Nobody else would: a machine that is taken away says nothing. Raises UserError.
    """
    known = {f"node/{one.name}" for one in estate.with_role(site, WORKER)}
    gone = sorted(set(_asked(twin, site, "get", "nodes", "--output=name").split()) - known)
    if gone:
        _asked(twin, site, "delete", "--ignore-not-found", *gone)
    return gone


def _asked(twin: Twin, site: str, *words: str) -> str:
    """What kubectl prints, within the twin as in its shell."""
    command, end = [sys.executable, "-m", "qhs.kubectl", "--context", site, *words], time.monotonic() + PATIENCE
    while (done := inside.run(twin, command)).returncode:
        if time.monotonic() > end:
            raise UserError(f"{site}: kubectl {' '.join(words)}: {done.stderr.strip()}", "`qhs up` tries again")
        time.sleep(2)
    return done.stdout
