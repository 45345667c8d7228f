"""A street: a place that enforces, and a namespace at the other end of each of its legs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.kernel.place import Place

TALK = Path(__file__).with_name("talk.py")


class Pair(NamedTuple):
    """An address in each family."""

    ipv4: str
    ipv6: str


class Leg(NamedTuple):
    """The addresses at both ends of a wire, within a /20 and a /64."""

    gate: Pair
    end: Pair


class Street:
    """Whoever stands at an end has the place as the gateway to all others."""

    def __init__(self, place: Place, legs: Mapping[str, Leg]) -> None:
        self.place = place
        self.ends = {name: _namespace() for name in legs}
        self.talking: list[subprocess.Popen[str]] = []
        place.shell("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for name, leg in legs.items():
            wire = f"ip link add {name} type veth peer name eth0 netns {self.ends[name].pid}"
            self._done(place.shell("sh", "-ec", "\n".join(["ip link set lo up", wire, *_addressed(name, leg.gate)])))
            routes = [f"ip -{family} route add default via {leg.gate[n]}" for n, family in enumerate((4, 6))]
            self._done(self.run(name, "sh", "-ec", "\n".join([*_addressed("eth0", leg.end), *routes])))

    def run(self, end: str, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self._at(end, *command), capture_output=True, text=True, check=False)

    def talk(self, end: str, **what: Any) -> subprocess.Popen[str]:
        """Have somebody talk at an end, or at the place where it is empty; talk.py says what may be asked for.

        It ends with the street.
        """
        command = self._at(end, sys.executable, str(TALK), json.dumps(what))
        talking = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert talking.stdout
        assert talking.stdout.readline() == "started\n"
        self.talking.append(talking)
        return talking

    @staticmethod
    def told(talking: subprocess.Popen[str]) -> dict[str, int]:
        """How it goes, in the words of one who talks."""
        assert talking.stdin
        assert talking.stdout
        talking.stdin.write("\n")
        talking.stdin.flush()
        found: dict[str, int] = json.loads(talking.stdout.readline())
        return found

    def end(self) -> None:
        for one in (*self.talking, *self.ends.values()):
            one.kill()
            one.wait()

    def _at(self, end: str, *command: str) -> list[str]:
        target = self.ends[end] if end else self.place.init
        return ["nsenter", f"--target={target.pid}", "--net", *command]

    def _done(self, done: subprocess.CompletedProcess[str]) -> None:
        assert done.returncode == 0, done.stderr


def _namespace() -> subprocess.Popen[str]:
    command = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "up\n"
    return process


def _addressed(name: str, own: Pair) -> Sequence[str]:
    return (
        f"ip link set {name} up",
        f"ip addr add {own.ipv4}/20 dev {name}",
        f"ip addr add {own.ipv6}/64 dev {name} nodad",
    )
