"""What the client says when a machine does not answer as it should; ssh itself is the real one."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from stacks.provider.ruleset.client import Client, RulesetError


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Machines on a loopback port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = tmp_path / "config"
    path.write_text(f"Host *\n  HostName 127.0.0.1\n  Port {port}\n")
    return path


def test_a_machine_that_is_off_is_one_message(config: Path) -> None:
    with pytest.raises(RulesetError) as caught:
        Client(config).read("fw1")
    said = str(caught.value)
    assert said.startswith("fw1 cannot be reached: ssh: connect to host 127.0.0.1")
    assert f"ssh -F {config} fw1 read" in said
    assert "Way out" in said
    assert "\n" not in said


def test_every_machine_that_is_off_is_named(config: Path) -> None:
    with pytest.raises(RulesetError, match=r"(?s)^fw1 cannot.*\nfw2 cannot"):
        Client(config).list(["fw1", "fw2"])


def _answering(folder: Path, text: str) -> Client:
    """A machine whose connection ends in a command of ours instead of sshd."""
    path = folder / "config"
    path.write_text(f"Host *\n  ProxyCommand printf '%%s' '{text}'\n")
    return Client(path)


def test_what_is_not_an_ssh_server_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(RulesetError, match=r"^fw1 cannot be reached: .*Way out"):
        _answering(tmp_path, json.dumps({"not": "ssh"})).read("fw1")
