"""Ansible's variables of a site's cluster: who its parts are, and where its control plane keeps what it knows."""

from __future__ import annotations

from typing import Any

from stacks.model import Estate, kubernetes
from stacks.model.certificates import service_name
from stacks.model.estate import CONTROL, Machine
from stacks.model.images import PORT, registries
from stacks.model.signing import nearest_stores


def variables(estate: Estate, machine: Machine) -> dict[str, Any]:
    """Of a machine of a cluster."""
    controls = CONTROL in machine.roles
    return {
        "cluster_identity_secrets": nearest_stores(estate, machine),
        "cluster_identity_way_in": kubernetes.way_in(machine.name),
        "cluster_identity_engine": kubernetes.ENGINE,
        "cluster_identity_parts": [{"name": one.name, "user": one.user} for one in kubernetes.parts(estate, machine)],
        "cluster_identity_shared": kubernetes.SHARED if controls else "",
        **(_control(estate, machine) if controls else _node(estate, machine)),
    }


def _node(estate: Estate, machine: Machine) -> dict[str, Any]:
    pods, port = kubernetes.pods(estate, machine), machine.interfaces[0]
    # The first is the node's own towards its pods; IPv4 has one more that means all of them.
    answers = [str(one) for one in list(pods.ipv6)[2:]]
    return {
        "containerd_registry": f"{registries(estate)[machine.site].address}:{PORT}",
        "pod_network_prefixes": pods.texts(),
        "pod_network_answers": answers,
        "pod_network_interface": port.name,
        "node_api": kubernetes.clusters(estate)[machine.site].addresses[0],
        "node_addresses": machine.addresses,
        "node_zone": port.name,
        "node_rack": machine.rack,
        "node_pods": pods.ipv4.num_addresses - 3,
    }


def _control(estate: Estate, machine: Machine) -> dict[str, Any]:
    cluster = kubernetes.clusters(estate)[machine.site]
    members = {one.name: one.addresses[0] for one in estate.with_role(machine.site, CONTROL)}
    return {
        "etcd_members": members,
        "etcd_name": service_name(estate, kubernetes.STORE, machine.site),
        "control_plane_name": cluster.name,
        "control_plane_address": cluster.addresses[0],
        "control_plane_etcd": list(members.values()),
        "control_plane_services": cluster.services.texts(),
    }
