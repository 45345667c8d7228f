"""Bridges, the ports of machines and clients on them, and the clients' own namespaces.

All of it lives in the twin's network namespace, which no wire leaves. What is there is read from the kernel
each time, never from a note of ours, so that a killed run or a hand's work is seen.
"""

import hashlib
import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Interface, ip_interface
from typing import Any

from qhs.errors import UserError
from qhs.twin.names import NETNS_FOLDER, Twin, port
from qhs.twin.topology import Client, Leg, Operator, Place, Topology

# What a new namespace starts from, whatever it would inherit from the host: nothing is forwarded, and an
# interface waits for no duplicate address and listens to no router.
QUIET = """
cd /proc/sys/net
echo 0 >ipv4/ip_forward
echo 0 >ipv6/conf/all/forwarding
echo 0 >ipv6/conf/default/accept_dad
echo 0 >ipv6/conf/default/accept_ra
cd /
"""


@dataclass(frozen=True)
class Port:
    """The bridge's end of a leg, as the kernel shows it."""

    name: str
    bridge: str | None
    isolated: bool
    alias: str
    up: bool

    def carries(self, leg: Leg) -> bool:
        return self.up and self.bridge == leg.bridge and self.isolated == leg.isolated


def ip(twin: Twin, lines: Iterable[str], netns: str | None = None) -> None:
    """Run lines of iproute2 in the twin's namespace, or in `netns`, as one batch. Raises UserError."""
    batch = "\n".join(lines)
    if not batch:
        return
    run = subprocess.run(
        ["ip", "-n", netns or twin.netns, "-batch", "-"],
        check=False,
        input=batch,
        capture_output=True,
        text=True,
    )
    if run.returncode:
        raise UserError(f"ip -n {netns or twin.netns}: {run.stderr.strip()}", "`qhs down`, then `qhs up`")


def links(twin: Twin, group: int | None = None) -> list[dict[str, Any]]:
    """Every interface of the twin's namespace, or those of a group, as iproute2 describes it."""
    show = ["ip", "-n", twin.netns, "-j", "-d", "address", "show", *(["group", str(group)] if group else [])]
    run = subprocess.run(show, check=True, capture_output=True, text=True)
    found: list[dict[str, Any]] = json.loads(run.stdout or "[]")
    return [one for one in found if one]  # it leaves an empty place for each that is of another group


def ports(twin: Twin) -> dict[str, Port]:
    """The ports that are there, by name."""
    found = {}
    for link in links(twin):
        info = link.get("linkinfo", {})
        if info.get("info_kind") == "veth":
            isolated = bool(info.get("info_slave_data", {}).get("isolated"))
            name = link["ifname"]
            found[name] = Port(name, link.get("master"), isolated, link.get("ifalias", ""), "UP" in link["flags"])
    return found


def namespaces(twin: Twin) -> tuple[bool, list[str]]:
    """Whether the twin's namespace is there, and which clients have one."""
    names = [path.name for path in NETNS_FOLDER.iterdir()] if NETNS_FOLDER.is_dir() else []
    clients = sorted(client for name in names if (client := twin.client_of(name)))
    return twin.netns in names, clients


def ensure_namespace(twin: Twin) -> None:
    """The twin's namespace; bridges in it start deaf and mute for IPv6, as a switch is."""
    if not namespaces(twin)[0]:
        _netns("add", twin.netns)
    _shell(twin.netns, f"{QUIET}\necho 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6")
    ip(twin, ["link set lo up"])


def ensure_bridges(twin: Twin, topology: Topology) -> None:
    """Exactly the bridges of the topology, and on them exactly the operator's addresses."""
    found = {it["ifname"]: it for it in links(twin) if it.get("linkinfo", {}).get("info_kind") == "bridge"}
    lines = [f"link del {name}" for name in sorted(found.keys() - set(topology.bridges))]
    for name in topology.bridges:
        if name not in found:
            # A fixed address: else it is the lowest port's, and changes under its neighbours' caches.
            lines.append(f"link add {name} address {_mac(name)} type bridge mcast_snooping 0 forward_delay 0")
        if name not in found or "UP" not in found[name]["flags"]:
            lines.append(f"link set {name} up")
    ip(twin, lines)
    wanted = {operator.bridge: operator for operator in topology.operators}
    for name in topology.bridges:
        has = {f"{it['local']}/{it['prefixlen']}" for it in found.get(name, {}).get("addr_info", [])}
        _ensure_operator(twin, wanted.get(name) or Operator(bridge=name, addresses=()), has)


def _ensure_operator(twin: Twin, operator: Operator, has: set[str]) -> None:
    wanted = set(operator.addresses)
    mine = {address for address in has if not ip_interface(address).ip.is_link_local}
    if wanted == mine:
        return
    on = f"/proc/sys/net/ipv6/conf/{operator.bridge}"
    # Asking for a booting machine's address ten times a second, not once, shows it up a second earlier.
    again = f"/proc/sys/net/ipv4/neigh/{operator.bridge}/retrans_time_ms"
    _shell(twin.netns, f"echo 0 >{on}/disable_ipv6; echo 100 >{again}")
    lines = [f"address del {address} dev {operator.bridge}" for address in sorted(mine - wanted)]
    lines += [f"address add {address} dev {operator.bridge}" for address in sorted(wanted - mine)]
    ip(twin, lines)


def plug(place: Place, target: str, mark: str) -> list[str]:
    """The batch that wires a place; `target`: pid or name of its namespace; `mark` goes into the aliases."""
    lines = []
    for leg in place.legs:
        name = port(place.name, leg.interface)
        lines += [
            # A fixed address, as a real card has: neighbours still know a machine that was off for a moment.
            f"link add {name} type veth peer name {leg.interface} address {_mac(name)} netns {target}",
            f'link set {name} alias "{place.name}:{leg.interface} {mark}"',
            *_hang(name, leg),
        ]
    return lines


def unplug(twin: Twin, places: set[str]) -> None:
    """Pull the wires of places that are gone: the kernel does so only some time after the last process."""
    gone = [port.name for port in ports(twin).values() if port.alias.partition(":")[0] in places]
    for name in gone:
        # One that the kernel was quicker with is no fault.
        subprocess.run(["ip", "-n", twin.netns, "link", "del", name], check=False, capture_output=True)


def plugged(twin: Twin, marked: Iterable[tuple[Place, str]]) -> set[str]:
    """The places whose every leg has its port, put there for their mark; stray ports are put back."""
    there = ports(twin)
    whole, lines = set(), []
    for place, mark in marked:
        found = [(leg, there.get(port(place.name, leg.interface))) for leg in place.legs]
        if all(it and it.alias.endswith(f" {mark}") for _, it in found):
            whole.add(place.name)
            lines += [line for leg, it in found if it and not it.carries(leg) for line in _hang(it.name, leg)]
    ip(twin, lines)
    return whole


def _hang(name: str, leg: Leg) -> list[str]:
    return [
        f"link set {name} master {leg.bridge}",
        f"link set {name} type bridge_slave isolated {'on' if leg.isolated else 'off'}",
        f"link set {name} up",
    ]


def ensure_clients(twin: Twin, clients: Sequence[Client]) -> None:
    """Exactly these clients; one that differs in anything is made anew."""
    _, found = namespaces(twin)
    kept = plugged(twin, [(client, _mark(client)) for client in clients]) & set(found)
    for name in found:
        if name not in kept:
            remove_client(twin, name)
    for client in clients:
        if client.name not in kept:
            make_client(twin, client)


def make_client(twin: Twin, client: Client) -> None:
    """One that is not there. `ensure_clients` takes it away again unless the topology has it."""
    netns = twin.client_netns(client.name)
    _netns("add", netns)
    _shell(netns, QUIET)
    ip(twin, plug(client, netns, _mark(client)))
    ip(twin, furniture(client), netns)


def furniture(client: Client) -> list[str]:
    """The batch that gives a client's own namespace its addresses and routes."""
    lines = ["link set lo up", *(f"link set {leg.interface} up" for leg in client.legs)]
    for leg, own in client.interfaces():
        # An IPv6 address that others might have is nobody's for a moment, also where they are not asked.
        sure = " nodad" if isinstance(own, IPv6Interface) else ""
        lines.append(f"address add {own} dev {leg.interface}{sure}")
    return [*lines, *(f"route add {route.destination} via {route.via}" for route in client.routes)]


def remove_client(twin: Twin, name: str) -> None:
    unplug(twin, {name})
    _netns("del", twin.client_netns(name))


def remove_namespace(twin: Twin) -> None:
    """And iproute2's own mount, where no one else's namespace is left in it (else the kernel refuses)."""
    _netns("del", twin.netns)
    subprocess.run(["umount", str(NETNS_FOLDER)], check=False, capture_output=True)


def _mark(client: Client) -> str:
    return hashlib.sha256(client.model_dump_json().encode()).hexdigest()[:16]


def _mac(name: str) -> str:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return ":".join(("02", *(digest[at : at + 2] for at in range(0, 10, 2))))


def _netns(verb: str, name: str) -> None:
    run = subprocess.run(["ip", "netns", verb, name], check=False, capture_output=True, text=True)
    if run.returncode:
        raise UserError(f"ip netns {verb} {name}: {run.stderr.strip()}", f"ip netns del {name}, then try again")


def _shell(netns: str, script: str) -> None:
    path = NETNS_FOLDER / netns
    subprocess.run(["nsenter", f"--net={path}", "--", "sh", "-euc", script], check=True, capture_output=True, text=True)
