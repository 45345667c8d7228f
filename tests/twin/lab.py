"""The smallest twin with something to prove: a gate between two segments, a host and two clients.

Run as a program it brings that twin up, so that a test can kill the run.
"""

from qhs.twin import lifecycle
from qhs.twin.topology import Client, File, Leg, Machine, Operator, Route, Topology


def leg(interface: str, bridge: str, number: int, host: int, isolated: bool = False) -> Leg:
    addresses = (f"10.77.{number}.{host}/24", f"fd77:{number}::{host}/64")
    return Leg(interface=interface, bridge=bridge, addresses=addresses, isolated=isolated)


def through(number: int) -> tuple[Route, ...]:
    return (
        Route(destination="0.0.0.0/0", via=f"10.77.{number}.1"),
        Route(destination="::/0", via=f"fd77:{number}::1"),
    )


GATE = Machine(
    name="gate",
    site="lab",
    legs=(leg("mgmt", "mgmt", 0, 11, isolated=True), leg("left", "left", 1, 1), leg("right", "right", 2, 1)),
    sysctl={"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"},
)
HOST = Machine(
    name="host",
    site="lab",
    legs=(leg("mgmt", "mgmt", 0, 12, isolated=True), leg("eth0", "right", 2, 10)),
    routes=through(2),
    files={"/etc/qhs-first-boot": File(content="baked\n", mode=0o600)},
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

if __name__ == "__main__":
    lifecycle.up(TOPOLOGY, lambda line: print(line, flush=True))
