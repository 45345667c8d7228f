"""The smallest twin with something to prove: a gate between two segments, a host and two clients.

Run as a program it brings that twin up, so that a test can kill the run.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from qhs.layout import OPEN
from qhs.twin import inside, lifecycle
from qhs.twin.names import NETNS_FOLDER, Twin
from qhs.twin.topology import Client, File, Leg, Machine, Operator, Route, Topology


def leg(interface: str, bridge: str, number: int, host: int, isolated: bool = False) -> Leg:
    addresses = (f"10.77.{number}.{host}/24", f"fd77:{number}::{host}/64")
    return Leg(interface=interface, bridge=bridge, addresses=addresses, isolated=isolated)


def through(number: int) -> tuple[Route, ...]:
    return (
        Route(destination="0.0.0.0/0", via=f"10.77.{number}.1"),
        Route(destination="::/0", via=f"fd77:{number}::1"),
    )


# These machines have no role, and stay open.
GATE = Machine(
    name="gate",
    site="lab",
    legs=(leg("mgmt", "mgmt", 0, 11, isolated=True), leg("left", "left", 1, 1), leg("right", "right", 2, 1)),
    sysctl={"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"},
    files=OPEN,
)
HOST = Machine(
    name="host",
    site="lab",
    legs=(leg("mgmt", "mgmt", 0, 12, isolated=True), leg("eth0", "right", 2, 10)),
    routes=through(2),
    files={**OPEN, "/etc/qhs-first-boot": File(content="baked\n", mode=0o600)},
)
TOPOLOGY = Topology(
    bridges=("mgmt", "left", "right"),
    machines=(GATE, HOST),
    clients=(
        Client(name="near", legs=(leg("eth0", "right", 2, 20),)),
        Client(name="far", legs=(leg("eth0", "left", 1, 20),), routes=through(1)),
    ),
    operators=(Operator(bridge="mgmt", addresses=("10.77.0.1/24", "fd77:0::1/64")),),
)


def snapshot(twin: Twin) -> dict[str, set[str]]:
    """Whatever of a twin could be left on the host."""
    groups = subprocess.run(
        ["find", "/sys/fs/cgroup", "-name", twin.cgroup], check=True, capture_output=True, text=True
    )
    processes = {
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/cgroup")
        if f"/{twin.cgroup}/" in read(path) and "\nState:\tZ" not in read(path.parent / "status")
    }
    links = subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True).stdout
    mounts = Path("/proc/self/mountinfo").read_text()
    return {
        "control groups": set(groups.stdout.split()),
        "processes": processes,
        "links": {line.split(":")[1].strip() for line in links.splitlines()},
        "mounts": {line for line in mounts.splitlines() if twin.netns in line or str(twin.state) in line},
        "namespaces": {path.name for path in NETNS_FOLDER.glob(f"{twin.netns}*")},
        "disks": {str(path) for path in twin.state.rglob("*")},
    }


@contextmanager
def alone_on_the_host(state: Path) -> Iterator[Twin]:
    """A twin of this process's own, with its state in `state`; taken down at the end, and nothing of it is left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        patch.setenv("QHS_TWIN", f"test{os.getpid()}")
        mine = Twin.here()
        try:
            yield mine
        finally:
            if mine.netns_path().exists():
                leave_nothing(mine)


def leave_nothing(twin: Twin) -> None:
    """Take a twin down, with a process of somebody's inside, and look for whatever stays on the host."""
    links = snapshot(twin)["links"]
    spaces = {path.stat().st_ino for path in NETNS_FOLDER.glob(f"{twin.netns}*")}
    shell = subprocess.Popen(inside.command(twin, ["sleep", "600"]))
    lifecycle.down(twin=twin)
    found = snapshot(twin)
    assert found.pop("links") == links
    assert not any(found.values()), found
    assert shell.wait(timeout=5) < 0, "a process inside the twin outlived it"
    assert not {path for path in Path("/proc").glob("[0-9]*/ns/net") if _inode(path) in spaces}


def read(path: Path) -> str:
    """What a file of /proc says; nothing, once its process is gone."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


if __name__ == "__main__":
    lifecycle.up(TOPOLOGY, lambda line: print(line, flush=True))
