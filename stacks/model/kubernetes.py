"""The clusters of the private cloud: one a site, what their parts are called, and the addresses of their services."""

from __future__ import annotations

from dataclasses import dataclass

from stacks.model import addresses
from stacks.model.addresses import Pair, cluster, host
from stacks.model.estate import CONTROL, WORKER, Estate, Machine

API, STORE = "kube-api", "kube-store"
"""The services: what everybody asks, and where it keeps its state."""
ENGINE = "kubernetes"
"""The path of the engine in a site's secret store whose authority certifies clients of the cluster alone."""
SHARED = "kubernetes"
"""Below which path that store has what all control planes of the site have in common."""
ACCOUNTS = f"{SHARED}/service-accounts"
"""What they sign the tokens of accounts by."""
HOURS = 168
"""For which a certificate of a part is good; two thirds of it are used."""
OPERATOR = "operator"
"""By which name whoever provisions asks for a certificate."""
OPERATOR_GROUP = "system:masters"
"""It makes what everybody else's rights come from."""
OPERATOR_HOURS = 8
"""For which that one is good; it is not kept."""
PORT = 6443
"""Of the API."""
USER = "qhs-clusters"
"""By whom it is reached on a control plane."""
NAMES = 10
"""The number among the services' addresses at which each node answers its own pods' questions about names."""
HERE = "127.0.0.1"
"""Where it answers its own daemons. Of the services' addresses, kube-proxy lets a node itself reach services alone."""
DOMAIN = "cluster.local"
"""Of the names inside a cluster."""


@dataclass(frozen=True)
class Part:
    """A part of a cluster that comes to its API, or from there to a node."""

    name: str
    """The certificate's, of its files and of the rules that it is signed by."""
    user: str
    group: str = ""
    host: str = ""
    """By which name it answers the API by that certificate, too."""


@dataclass(frozen=True)
class Cluster:
    """The cluster of a site."""

    name: str
    """What its API's certificate is for."""
    addresses: tuple[str, ...]
    services: Pair
    """What names inside it lead to."""


@dataclass(frozen=True)
class Api:
    """Where the API of a cluster is."""

    machines: tuple[str, ...]
    address: str
    name: str


API_SERVER = "kube-apiserver"
"""Who the API is when it asks a node."""
AGGREGATOR = Part("kube-aggregator", "system:kube-aggregator")
"""Who the API is when it hands on what somebody asked: whoever has this certificate is believed for whom he asks."""
METRICS = "metrics-server"
"""The service that tells what nodes and pods use."""
METRICS_PORT = 4443
"""On each control plane, for the API there alone."""
SYSTEM = "kube-system"
"""The namespace of the cluster's own parts."""
CONTROLS = (
    Part("kube-apiserver", API_SERVER),
    AGGREGATOR,
    Part("kube-controller-manager", "system:kube-controller-manager"),
    Part("kube-scheduler", "system:kube-scheduler"),
    # The API has no choice of the name that it looks for.
    Part(METRICS, f"system:{METRICS}", host=f"{METRICS}.{SYSTEM}.svc"),
)


def _node_parts(machine: Machine) -> tuple[Part, ...]:
    """What runs on a node: its agent may touch what is bound to this very node (NodeRestriction, C-K8S-02)."""
    agent = Part(f"kubelet-{machine.name}", f"system:node:{machine.name}", "system:nodes")
    others = ("kube-proxy", "kube-router", "coredns")
    return (agent, *(Part(name, f"system:{name}") for name in others))


def pods(estate: Estate, machine: Machine) -> Pair:
    """The addresses of the pods of a node: of its own segment, so that they are under its rules."""
    port = machine.interfaces[0]
    segment = estate.places[port.place].prefix
    number = int(port.address.ipv4.network_address) - int(segment.ipv4.network_address) - addresses.MACHINE
    return addresses.pods_of(segment, number)


def authority(site: str) -> str:
    """The name of the authority for clients of a site's cluster."""
    return f"QHS clients of the cluster of {site}"


def clusters(estate: Estate) -> dict[str, Cluster]:
    """By site; one without a control plane has none."""
    return {
        site: Cluster(
            f"{API}.{estate.domain(site)}", tuple(held[0].targets[0].texts()), cluster(Pair(one.ipv4, one.ipv6))
        )
        for site, one in estate.inventory.sites.items()
        if (held := [found for found in estate.served(site) if found.service == API])
    }


def apis(estate: Estate) -> dict[str, Api]:
    """By site."""
    return {
        site: Api(tuple(machine.name for machine in estate.with_role(site, CONTROL)), one.addresses[0], one.name)
        for site, one in clusters(estate).items()
    }


def parts(estate: Estate, machine: Machine) -> tuple[Part, ...]:
    """Those on a machine that come with a certificate of their own."""
    if WORKER in machine.roles:
        return _node_parts(machine)
    return CONTROLS if CONTROL in machine.roles else ()


def members(estate: Estate, site: str) -> list[Machine]:
    """The machines of a site's cluster."""
    return [machine for machine in estate.machines.values() if machine.site == site and parts(estate, machine)]


def way_in(machine: str) -> str:
    """What the secret store of a site calls the way in of a machine of its cluster."""
    return f"kubernetes-{machine}"


def inside(estate: Estate, machine: Machine) -> list[Pair]:
    """The address by which the API is known inside the cluster: the first of its services'."""
    return [host(clusters(estate)[machine.site].services, 1)] if CONTROL in machine.roles else []


def names(estate: Estate, site: str) -> Pair:
    """Where a node answers its own pods' questions about names: no other machine is ever asked at this address."""
    return host(clusters(estate)[site].services, NAMES)
