"""The provisioning API of an HSM's host, as the role `hsm` gives it: a verb over SSH, the rest on standard input."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from qhs import ruleset_access
from qhs.twin import inside
from qhs.twin.names import Twin

USER = "qhs-hsm"
ANSWER_WITHIN = 60
"""Seconds; a key of 4096 bits takes some."""
OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "LogLevel=ERROR")


class DeviceError(Exception):
    """The API refused, or did not answer; `code` is its word for why."""

    def __init__(self, machine: str, code: str, message: str) -> None:
        super().__init__(f"{machine}: {message}")
        self.code = code


def ask(twin: Twin, machine: str, verb: str, **given: str) -> dict[str, Any]:
    """What the device on a machine answers. Raises DeviceError."""
    command = ["ssh", "-F", str(ruleset_access.write(twin)), *OPTIONS, "-l", USER, "--", machine, verb]
    try:
        done = subprocess.run(
            inside.command(twin, command),
            input=json.dumps(given),
            capture_output=True,
            text=True,
            check=False,
            timeout=ANSWER_WITHIN,
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(machine, "silent", f"no answer within {ANSWER_WITHIN} s") from None
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        said = (done.stderr.strip() or f"ssh ended with {done.returncode}").splitlines()[-1]
        raise DeviceError(machine, "silent", said) from None
    if "error" in answer:
        raise DeviceError(machine, **answer["error"])
    return answer
