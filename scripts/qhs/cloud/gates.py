"""What must hold of a site's cluster before its control plane is changed, and again after each step.

A gate is a name and a question; the answer is why it does not pass, or nothing. Each is asked until it passes or its
time is over: what has just been restarted needs a moment.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from qhs.cloud import machines
from qhs.cloud.asking import Said
from qhs.cloud.checks import judged
from qhs.cloud.status import asked
from qhs.cloud.store import SERVES
from qhs.errors import UserError
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.estate import WORKER

CHOICE = "/usr/local/lib/qhs-control-plane/qhs_control_plane.py"
PATIENCE = 150
"""Seconds for a gate: a leader that was restarted is followed by another one after 15 s, a pod is asked every 10 s."""
EVERY = 3
LEADERS = {"kube-controller-manager", "kube-scheduler"}
"""Parts that one of several does the work of, by a lease that it renews."""


@dataclass(frozen=True)
class Gate:
    """A question about a cluster."""

    name: str
    ask: Callable[[], str]
    """Why it does not pass; empty: it does."""


def first_closed(gates: Iterable[Gate], patience: float = PATIENCE) -> tuple[str, str]:
    """The first that does not pass in time, and why; both empty where all do."""
    for gate in gates:
        end = time.monotonic() + patience
        while why := _asked(gate):
            if time.monotonic() > end:
                return gate.name, why
            time.sleep(min(EVERY, patience))
    return "", ""


def _asked(gate: Gate) -> str:
    """Who does not answer does not pass."""
    try:
        return gate.ask()
    except UserError as error:
        return error.what


def of_part(twin: Twin, machine: str, part: str, version: str) -> Gate:
    """That a part of a control plane runs as a version, and says that it is well."""
    words = (CHOICE, "lacks", part, version)
    return Gate(f"{part} of {machine}", lambda: machines.run(twin, machine, *words).decode().strip())


def of_cluster(estate: Estate, twin: Twin, site: str, members: Iterable[str]) -> list[Gate]:
    """The store, the API, who leads, nodes, deployments and the canaries of applications."""
    since = datetime.now(UTC)
    return [
        *(Gate(f"store on {one}", partial(_store, twin, one)) for one in members),
        Gate("readyz", lambda: _readyz(twin, site)),
        Gate("leaders", lambda: led(_listed(twin, site, "leases", "--namespace=kube-system"), since)),
        Gate("nodes", lambda: nodes_ready(_listed(twin, site, "nodes"), _nodes(estate, site))),
        Gate("deployments", lambda: deployed(_listed(twin, site, "deployments", "--all-namespaces"))),
        Gate("canaries", lambda: _canaries(estate, twin, site)),
    ]


def nodes_ready(found: list[dict[str, Any]], wanted: set[str]) -> str:
    """Every node that the estate has says that it is ready."""
    ready = {
        one["metadata"]["name"]
        for one in found
        if any(each["type"] == "Ready" and each["status"] == "True" for each in one["status"].get("conditions", []))
    }
    missing = sorted(wanted - ready)
    return f"not ready: {', '.join(missing)}" if missing else ""


def deployed(found: list[dict[str, Any]]) -> str:
    """Each deployment is as it was declared last, with all its pods at work; one that is none would be no cluster's."""
    wrong = [
        f"{one['metadata']['namespace']}/{one['metadata']['name']}"
        for one in found
        if one["status"].get("observedGeneration", 0) < one["metadata"]["generation"]
        or one["status"].get("availableReplicas", 0) < one["spec"]["replicas"]
    ]
    return f"not available: {', '.join(sorted(wrong))}" if wrong else ""


def led(found: list[dict[str, Any]], since: datetime) -> str:
    """Somebody renewed each lease since then: a holder that is gone has it until it runs out, and renews it no more."""
    held = {
        one["metadata"]["name"]
        for one in found
        if one["spec"].get("holderIdentity") and datetime.fromisoformat(one["spec"]["renewTime"]) > since
    }
    missing = sorted(LEADERS - held)
    return f"nobody leads: {', '.join(missing)}" if missing else ""


def kubelets(twin: Twin, site: str) -> dict[str, str]:
    """By node the version of its agent. Raises UserError."""
    found = _listed(twin, site, "nodes")
    return {one["metadata"]["name"]: one["status"]["nodeInfo"]["kubeletVersion"].removeprefix("v") for one in found}


def running(twin: Twin, site: str) -> str:
    """The version of the API. Raises UserError."""
    return str(json.loads(kubectl(twin, site, "get", "--raw", "/version"))["gitVersion"]).removeprefix("v")


def kubectl(twin: Twin, site: str, *words: str) -> str:
    """What it prints, within the twin as in its shell. Raises UserError."""
    done = inside.run(twin, [sys.executable, "-m", "qhs.kubectl", "--context", site, *words])
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise UserError(f"{site}: kubectl {' '.join(words)}: {said}", "`qhs up` puts right what a cluster lacks")
    return done.stdout


def _store(twin: Twin, machine: str) -> str:
    machines.run(twin, machine, *SERVES)
    return ""


def _readyz(twin: Twin, site: str) -> str:
    found = kubectl(twin, site, "get", "--raw", "/readyz")
    return "" if found.strip() == "ok" else found


def _listed(twin: Twin, site: str, *what: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(kubectl(twin, site, "get", *what, "--output=json"))["items"]
    return items


def _nodes(estate: Estate, site: str) -> set[str]:
    return {one.name for one in estate.with_role(site, WORKER)}


def _canaries(estate: Estate, twin: Twin, site: str) -> str:
    said, silent = asked(estate, twin, "pods")
    if site in silent:
        return silent[site]
    return canaries_ready(estate, site, said[site])


def canaries_ready(estate: Estate, site: str, said: Said) -> str:
    """As many of each application as the model says; what they are given does not hang on a control plane."""
    wrong = [one for one in judged(estate, {site: said}, None) if one.what == "pods" and not one.as_wanted]
    return "; ".join(f"{one.tenant}: found {one.found}; wanted {one.wanted}" for one in wrong)
