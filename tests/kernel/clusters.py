"""Members of clusters of etcd on roots of the machine image, each in a network of its own on one bridge."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from tests.kernel.certified import certify

ROLES = Path(__file__).parents[2] / "roles"
PROGRAM = "usr/local/lib/qhs-etcd/qhs_etcd.py"


@dataclass(frozen=True)
class Cluster:
    """What its role is told of it."""

    name: str
    role: str
    members: dict[str, str]
    clients: int
    peers: int
    given: dict[str, Any]
    """The variables of the role."""

    def template(self, file: str, name: str) -> str:
        """A file of the role for a member."""
        return rendered(self.role, file, inventory_hostname=name, **self.given)


def rendered(role: str, file: str, **given: Any) -> str:
    """A file of a role, by where it lies on a machine."""
    path = ROLES / role / "templates" / f"{file}.j2"
    return (
        Environment(loader=FileSystemLoader(path.parent), autoescape=True, keep_trailing_newline=True)
        .get_template(path.name)
        .render(given)
    )


def program(root: Path, role: str, path: str) -> None:
    """Have a program of a role there."""
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROLES / role / "files" / Path(path).name, root / path)
    (root / path).chmod(0o755)


class Member:
    """A root of its own over the image's, in the network of all."""

    def __init__(self, cluster: Cluster, root: Path, name: str, own: Path, network: Path, *names: str) -> None:
        """`names`: those of its certificate beside its own."""
        self.root, self.name, self.network = root, name, network
        self.address = cluster.members[name]
        self.data = f"var/lib/qhs-{cluster.name}"
        self.begins = f"{self.data}/begins"
        self.joined = f"run/qhs-{cluster.name}/joined.env"
        self._cluster = cluster
        self._environment = f"etc/qhs/{cluster.name}/member.env"
        certify(root / "etc/qhs/tls", own, name, *names, self.address)
        program(root, "etcd_member", PROGRAM)
        for file in (self.joined, self._environment, "etc/qhs/etcd/clusters.json"):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
        known = {"members": cluster.members, "clients": cluster.clients, "peers": cluster.peers}
        (root / "etc/qhs/etcd/clusters.json").write_text(
            rendered(
                "etcd_member", "etc/qhs/etcd/clusters.json",
                inventory_hostname=name, etcd_member_clusters={cluster.name: known},
            )
        )  # fmt: skip
        (root / self._environment).write_text(cluster.template(self._environment, name))
        self._server: subprocess.Popen[bytes] | None = None

    def says(self, verb: str) -> tuple[int, str]:
        """Of the program for its cluster."""
        return self.runs(f"/{PROGRAM}", verb, self._cluster.name)

    def runs(self, *words: str) -> tuple[int, str]:
        """The exit code of a command, and what it said."""
        done = subprocess.run(
            self.within(*words), capture_output=True, text=True, check=False,
            env={"RUNTIME_DIRECTORY": f"/run/qhs-{self._cluster.name}"},
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def start(self) -> None:
        """As its unit does: what `join` says counts."""
        assert self.says("join") == (0, "")
        lines = [line for file in (self._environment, self.joined) for line in (self.root / file).open()]
        known = dict(line.strip().split("=", 1) for line in lines if line.startswith("ETCD_"))
        with (self.root / "var/log/etcd.log").open("ab") as log:
            self._server = subprocess.Popen(self.within("/usr/bin/etcd"), env=known, stdout=log, stderr=log)
        (self.root / self.begins).unlink(missing_ok=True)

    def stop(self) -> None:
        if self._server:
            self._server.kill()
            self._server.wait()
            self._server = None

    def serves(self) -> bool:
        return self.says("check") == (0, "")

    def within(self, *words: str) -> list[str]:
        """A command line that runs another one there."""
        return ["nsenter", f"--net={self.network}", "/usr/sbin/chroot", str(self.root), *words]


@dataclass(frozen=True)
class Wires:
    """Networks, each with an address on one bridge."""

    networks: dict[str, Path]
    """By whose they are."""
    bridge: int
    """The process that has it."""

    def cut(self, *names: str) -> None:
        self._set("down", names)

    def heal(self, *names: str) -> None:
        self._set("up", names)

    def _set(self, state: str, names: tuple[str, ...]) -> None:
        for name in names:
            wire = f"wire{list(self.networks).index(name)}"
            enter = ["nsenter", f"--target={self.bridge}", "--net"]
            subprocess.run([*enter, "ip", "link", "set", wire, state], check=True)


@contextmanager
def wired(addresses: Mapping[str, str]) -> Iterator[Wires]:
    """A network for each: members know each other by where a connection comes from."""
    with ExitStack() as stack:
        bridge, *ends = [stack.enter_context(namespace()) for _ in range(len(addresses) + 1)]
        steps = ["ip link add shared type bridge", "ip link set shared up"]
        for number, (end, address) in enumerate(zip(ends, addresses.values(), strict=True)):
            wire = f"wire{number}"
            steps += [
                f"ip link add {wire} type veth peer name eth0 netns {end}",
                f"ip link set {wire} master shared up",
                f"nsenter --target={end} --net sh -ec '{addressed(address)}'",
            ]
        subprocess.run(["nsenter", f"--target={bridge}", "--net", "sh", "-ec", "\n".join(steps)], check=True)
        networks = {name: Path(f"/proc/{end}/ns/net") for name, end in zip(addresses, ends, strict=True)}
        yield Wires(networks, bridge)


def addressed(address: str) -> str:
    return f"ip link set lo up; ip address add {address}/24 dev eth0; ip link set eth0 up"


@contextmanager
def namespace() -> Iterator[int]:
    """A network of its own, by the process that has it."""
    with subprocess.Popen(["unshare", "--net", "sh", "-c", "echo up; exec sleep 900"], stdout=subprocess.PIPE) as init:
        assert init.stdout
        assert init.stdout.readline() == b"up\n"
        yield init.pid
        init.kill()
