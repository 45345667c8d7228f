"""Asks the clusters of the running twin what stands in them; no secret is among it."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from policies.live.cluster import KINDS
from qhs import trust_access
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.kubernetes import clusters

WITHIN = 120
"""Seconds for one answer."""


def asked(estate: Estate, twin: Twin) -> dict[str, list[dict[str, Any]] | str]:
    """By site every object of these kinds, or, as a text, why its cluster says nothing. All are asked at once."""
    trust_access.write(twin, estate)
    sites = list(clusters(estate))
    with ThreadPoolExecutor(len(sites)) as pool:
        return dict(zip(sites, pool.map(lambda site: _asked(twin, site), sites), strict=True))


def _asked(twin: Twin, site: str) -> list[dict[str, Any]] | str:
    words = [f"--context={site}", "get", ",".join(KINDS), "--all-namespaces", "--output=json"]
    command = inside.command(twin, [sys.executable, "-m", "qhs.kubectl", *words])
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WITHIN)
    except subprocess.TimeoutExpired:
        return f"no answer within {WITHIN} s"
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["nothing"])[-1]
    found: list[dict[str, Any]] = json.loads(done.stdout)["items"]
    return found
