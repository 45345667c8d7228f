"""Asks the canaries of a cluster; `qhs.cluster` runs it and says, by KUBECONFIG, which cluster.

    python -m qhs.cloud.asking pods    which there are
    python -m qhs.cloud.asking check   what each found of what its application is given
    python -m qhs.cloud.asking sign    what came of what each is to have signed, by standard input
    python -m qhs.cloud.asking reach   which of the addresses on standard input answer each

The answer is one JSON document on standard output.
"""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import BaseModel

from qhs import tools
from qhs.console import progress
from stacks.model.cloud import PART

AT_ONCE = 4
WITHIN = 120
"""Seconds for one answer."""
TRIES = 3
"""A stream to a pod was seen to break off before its end."""
CANARY = ["/usr/bin/python3", "-B", "/usr/lib/canary"]


class Pod(BaseModel):
    """A canary."""

    tenant: str
    name: str
    node: str
    addresses: list[str]
    ready: bool


class Said(BaseModel):
    """What a cluster and the canaries in it say."""

    pods: list[Pod]
    answers: dict[str, Any]
    """By application, of one of its pods."""
    silent: dict[str, str]
    """By application, why none was to be had."""


def main(word: str) -> int:
    """Returns 1 with a line on standard error where the cluster does not answer."""
    given = sys.stdin.read() if word in ("reach", "sign") else "null"
    try:
        found = pods()
    except (OSError, subprocess.SubprocessError) as error:
        print(_why(error), file=sys.stderr)
        return 1
    ready = {one.tenant: one for one in found if one.ready and word != "pods"}
    told = dict.fromkeys(ready, [given] * TRIES)
    if word == "sign":
        told = {name: [json.dumps(one) for one in tries] for name, tries in json.loads(given).items() if name in ready}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = dict(zip(told, pool.map(lambda name: _asked(ready[name], word, told[name]), told), strict=True))
    said = Said(
        pods=found,
        answers={name: one for name, one in answers.items() if not isinstance(one, str)},
        silent={name: one for name, one in answers.items() if isinstance(one, str)},
    )
    print(said.model_dump_json())
    return 0


def pods() -> list[Pod]:
    """All canaries of the cluster. Raises SubprocessError."""
    selector = ",".join(f"{key}={value}" for key, value in PART.items())
    found = json.loads(_kubectl("get", "pods", "--all-namespaces", f"--selector={selector}", "--output=json"))
    return [_pod(one) for one in found["items"] if "deletionTimestamp" not in one["metadata"]]


def _pod(found: dict[str, Any]) -> Pod:
    status = found["status"]
    conditions = {one["type"]: one["status"] for one in status.get("conditions", [])}
    return Pod(
        tenant=found["metadata"]["namespace"],
        name=found["metadata"]["name"],
        node=found["spec"].get("nodeName", ""),
        addresses=[one["ip"] for one in status.get("podIPs", [])],
        ready=conditions.get("Ready") == "True",
    )


def _asked(pod: Pod, word: str, told: list[str]) -> Any:
    """Its answer to what it is told, try by try; why there is none, as a text."""
    exec_ = ["exec", f"--namespace={pod.tenant}", pod.name, "--stdin", "--quiet", "--", *CANARY, word]
    why = ""
    for given in told:
        try:
            return json.loads(_kubectl(*exec_, given=given))
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            why = _why(error)
    return why


def _kubectl(*words: str, given: str = "") -> str:
    program = tools.ensure(["kubernetes"], progress)["kubernetes"].programs["kubectl"]
    command = [str(program), *words]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True, timeout=WITHIN).stdout


def _why(error: Exception) -> str:
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
    return (said.strip().splitlines() or [str(error)])[-1]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
