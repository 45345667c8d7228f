"""HTTPS by curl, which follows, signs and verifies; nothing that is secret stands on its command line."""

import json
import subprocess

from given import ROOT

SECONDS = 5


class RefusedError(Exception):
    """What was asked was not done: what is said of it."""


def ask(url: str, **words: str) -> bytes:
    """The answer's body. Raises RefusedError."""
    given = {"url": url, "cacert": str(ROOT), "max-time": str(SECONDS), **words}
    config = "".join(f"{name} = {json.dumps(value)}\n" for name, value in given.items())
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--location", "--config", "-"]
    done = subprocess.run(command, input=config.encode(), capture_output=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).decode(errors="replace")
        raise RefusedError(" ".join(said.split())[:300])
    return done.stdout
