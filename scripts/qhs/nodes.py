"""What a cluster says of its nodes, and what the estate does."""

from __future__ import annotations

import time

from qhs import kubectl
from qhs.errors import UserError
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.estate import WORKER
from stacks.provider.secret.client import StoreError
from stacks.provider.settings import ProviderError

TRIES = 3


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
    """What kubectl prints. A machine at work drops one of many connections now and then, so it is asked again."""
    for left in reversed(range(TRIES)):
        try:
            done = kubectl.run(twin, ["--context", site, *words], capture_output=True)
        except (ProviderError, StoreError) as error:
            raise UserError(f"{site}: the cluster was not reached: {error}", "`qhs up` tries again") from None
        if not done.returncode:
            break
        if not left:
            raise UserError(f"{site}: kubectl {' '.join(words)}: {done.stderr.strip()}", "`qhs up` tries again")
        time.sleep(2)
    return done.stdout
