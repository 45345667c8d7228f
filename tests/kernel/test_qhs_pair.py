"""`qhs-pair` on the two members of a pair: machines of their own, with a wire between them and real certificates."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.model.rules import Rule
from stacks.provider.ruleset.nft import render
from tests.kernel.certified import certify, new_root
from tests.kernel.place import Place

PROGRAM = Path(__file__).parents[2] / "roles/firewall/files/qhs_pair.py"
ADDRESSES = {"fw1": "10.77.9.2", "fw2": "10.77.9.3"}
BETWEEN = [("between", Rule("input", iif="sync")), ("own-between", Rule("output", oif="sync"))]
OLD, NEW = (render([(name, Rule("input", iif="lo")), *BETWEEN], {}) for name in ("old", "new"))
# What systemd does with the socket: a process a connection.
SERVER = """
import socket, subprocess, sys
with socket.create_server((sys.argv[1], 3781)) as server:
    print("up", flush=True)
    while True:
        connection, _ = server.accept()
        with connection:
            subprocess.run([sys.executable, sys.argv[2], "answer"], stdin=connection)
"""


class Member(Place):
    """A member of the pair."""

    def __init__(self, folder: Path, name: str, root_of_all: Path) -> None:
        folder.mkdir()
        super().__init__(folder, 30)
        self.name = name
        (peer,) = ADDRESSES.keys() - {name}
        self.pair = folder / "qhs-pair"
        launcher = folder / "launch"
        launcher.write_text(f'#!/bin/sh\nexec {sys.executable} {self.program} "$@"\n')
        launcher.chmod(0o755)
        text = PROGRAM.read_text().replace("/usr/local/sbin/qhs-ruleset", str(launcher))
        self.pair.write_text(text.replace("SILENCE = 5", "SILENCE = 1"))
        about = {"address": ADDRESSES[name], "peer": peer, "peer_address": ADDRESSES[peer], "port": 3781}
        (self.etc / "pair.json").write_text(json.dumps(about))
        self.certify(root_of_all)

    def certify(self, root_of_all: Path) -> None:
        """Have the machine's certificate."""
        certify(self.etc / "tls", root_of_all, self.name)

    def take(self) -> str:
        """What it says once it may take part."""
        return self.shell(sys.executable, str(self.pair), "take").stdout

    def serve(self) -> None:
        """Take part in VRRP."""
        self.shell("sh", "-c", "echo primary >/run/qhs-gateways")

    def answer(self) -> None:
        """Answer the peer from now on."""
        self.answering = self.begin("-c", SERVER, ADDRESSES[self.name], str(self.pair))
        assert self.answering.stdout
        assert self.answering.stdout.readline() == "up\n"

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start Python there."""
        inside = ["nsenter", f"--target={self.init.pid}", "--net", "--mount", sys.executable]
        return subprocess.Popen([*inside, *words], stdout=subprocess.PIPE, text=True)

    def end(self) -> None:
        if hasattr(self, "answering"):
            self.answering.kill()
            self.answering.wait()
        super().end()


@pytest.fixture
def members(tmp_path: Path) -> Iterator[tuple[Member, Member]]:
    trusted = new_root(tmp_path / "root")
    here, peer = (Member(tmp_path / name, name, trusted) for name in ADDRESSES)
    here.shell("ip", "link", "add", "sync", "type", "veth", "peer", "name", "sync", "netns", str(peer.init.pid))
    for member in (here, peer):
        member.shell("ip", "address", "add", f"{ADDRESSES[member.name]}/24", "dev", "sync")
        member.shell("ip", "link", "set", "sync", "up")
    peer.answer()
    yield here, peer
    for member in (here, peer):
        member.end()


def confirm(member: Member, text: str, since: float) -> None:
    member.local("take", text=json.dumps({"text": text, "since": since}))


def test_a_member_that_returns_takes_what_its_peer_has_confirmed(members: tuple[Member, Member]) -> None:
    """Also where its own was confirmed later: the peer is the one that has been there."""
    here, peer = members
    confirm(here, NEW, 200)
    confirm(peer, OLD, 100)
    peer.serve()
    assert "as fw2 has it" in here.take()
    assert here.names()[0] == "guard:old"
    assert here.local("confirmed") == {"text": OLD, "since": 100}


@pytest.mark.parametrize(("mine", "theirs", "left"), [(100, 200, "guard:new"), (200, 100, "guard:old")])
def test_of_two_that_return_at_once_the_later_ruleset_stands(
    members: tuple[Member, Member], mine: float, theirs: float, left: str
) -> None:
    here, peer = members
    confirm(here, OLD, mine)
    confirm(peer, NEW, theirs)
    here.take()
    assert here.names()[0] == left


def test_a_member_without_a_ruleset_takes_one_and_gives_none(members: tuple[Member, Member]) -> None:
    here, peer = members
    confirm(peer, NEW, 100)
    here.take()
    assert here.names()[0] == "guard:new"
    (peer.etc / "ruleset.nft").unlink()
    here.take()
    assert here.names()[0] == "guard:new"


def test_without_its_peer_a_member_goes_on_with_what_it_has(members: tuple[Member, Member]) -> None:
    here, peer = members
    confirm(here, OLD, 100)
    peer.shell("ip", "link", "set", "sync", "down")
    assert "fw2 is off" in here.take()
    assert here.names()[0] == "guard:old"


def test_a_stranger_is_told_nothing_and_a_member_believes_no_stranger(
    members: tuple[Member, Member], tmp_path: Path
) -> None:
    """It waits for as long as somebody answers there, and goes on once nobody does."""
    here, peer = members
    confirm(here, OLD, 100)
    confirm(peer, NEW, 200)
    peer.serve()
    peer.certify(new_root(tmp_path / "other"))
    waiting = here.begin(str(here.pair), "take")
    assert waiting.stdout
    # Each look is a question: it has not gone on after the first, nor the second.
    for _ in range(3):
        assert "no way to know what fw2 has" in waiting.stdout.readline()
    peer.answering.kill()
    said, _ = waiting.communicate(timeout=10)
    assert "fw2 is off" in said
    assert here.names()[0] == "guard:old"
