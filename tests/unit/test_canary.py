"""What the canary of an application says, where that needs no cluster."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import Any

from stacks.model.images import CANARY, FOLDER

PROGRAM = FOLDER / CANARY / "rootfs/usr/lib/canary"
SETTINGS = {"tenant": "mail", "site": "ndc", "build": "sha256:0", "stores": []}


def said(word: str, given: object = None) -> Any:
    """In a process of its own, as a pod has it."""
    environ = os.environ | {"CANARY": json.dumps(SETTINGS)}
    command = [sys.executable, "-B", str(PROGRAM), word]
    done = subprocess.run(command, input=json.dumps(given), env=environ, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_it_tells_who_answers_from_who_refuses() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as there,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        with socket.create_server(("127.0.0.1", 0)) as gone:
            closed = gone.getsockname()[:2]
        addresses = [there.getsockname()[:2], closed, six.getsockname()[:2]]
        assert said("reach", addresses) == ["open", "refused", "open"]


def test_a_word_that_it_does_not_know_is_answered_with_those_that_it_does() -> None:
    done = subprocess.run([sys.executable, "-B", PROGRAM, "x"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "serve  answer whoever asks" in done.stderr
