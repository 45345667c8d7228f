"""A genuine server of a secret store, with nothing in it, for whoever knows its word."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hvac
import pytest

from qhs import image
from stacks.provider.secret.client import Store
from tests.twin.waiting import await_

WORD = "of-this-test-alone"


class Direct(Store):
    """The server, which lets in whoever knows its word."""

    def __init__(self, at: str) -> None:
        super().__init__("qhdc", ["here"], lambda: pytest.fail("nobody logs in"))
        self._there = hvac.Client(at, token=WORD)

    def _let_in(self) -> hvac.Client:
        return self._there


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """Where it answers while the block runs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    program = image.ensure(print).path / "usr/bin/bao"
    words = ["server", "-dev", f"-dev-root-token-id={WORD}", "-dev-no-store-token", f"-dev-listen-address={address}"]
    environ = os.environ | {"HOME": str(home)}
    quiet = subprocess.DEVNULL
    with subprocess.Popen([program, *words], env=environ, stdout=quiet, stderr=quiet) as running:
        client = hvac.Client(f"http://{address}", token=WORD)
        await_(lambda: _serves(client))
        yield f"http://{address}"
        running.terminate()


def _serves(client: hvac.Client) -> bool:
    try:
        return not client.seal_status["sealed"]
    except OSError:
        return False
