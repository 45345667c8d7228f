"""Ansible's variables of a site's cluster: who its parts are, and where its control plane keeps what it knows."""

from __future__ import annotations

from typing import Any

from qhs import etcd
from stacks.model import Estate, kubernetes
from stacks.model.addresses import host
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
        "cluster_identity_parts": [
            {"name": one.name, "user": one.user, "host": one.host} for one in kubernetes.parts(estate, machine)
        ],
        "cluster_identity_shared": kubernetes.SHARED if controls else "",
        **(_control(estate, machine) if controls else _node(estate, machine)),
    }


def _node(estate: Estate, machine: Machine) -> dict[str, Any]:
    pods, port = kubernetes.pods(estate, machine), machine.interfaces[0]
    cluster = kubernetes.clusters(estate)[machine.site]
    names = kubernetes.names(estate, machine.site).texts()
    # The first is the node's own towards its pods; IPv4 has one more that means all of them.
    answers = [str(one) for one in list(pods.ipv6)[2:]]
    return {
        "containerd_registry": f"{registries(estate)[machine.site].address}:{PORT}",
        "pod_network_prefixes": pods.texts(),
        "pod_network_answers": answers,
        "pod_network_interface": port.name,
        "pod_policies_api": cluster.addresses[0],
        "pod_policies_prefixes": pods.texts(),
        # What kube-router does not police must be named: the one address of services that none of them gets.
        "pod_policies_exempt": [str(one) for one in host(cluster.services, 0).both],
        "cluster_names_api": cluster.addresses[0],
        "cluster_names_addresses": names,
        "cluster_names_here": kubernetes.HERE,
        "cluster_names_domain": kubernetes.DOMAIN,
        "cluster_names_services": cluster.services.texts(),
        "node_api": cluster.addresses[0],
        "node_addresses": machine.addresses,
        "node_zone": port.name,
        "node_rack": machine.rack,
        "node_pods": pods.ipv4.num_addresses - 3,
        "node_names": names,
        "node_domain": kubernetes.DOMAIN,
    }


def _control(estate: Estate, machine: Machine) -> dict[str, Any]:
    cluster = kubernetes.clusters(estate)[machine.site]
    members = etcd.members(estate, machine)
    return {
        "etcd_members": members,
        "etcd_name": service_name(estate, kubernetes.STORE, machine.site),
        "control_plane_name": cluster.name,
        "control_plane_address": cluster.addresses[0],
        "control_plane_etcd": list(members.values()),
        "control_plane_services": cluster.services.texts(),
        "control_plane_identity": [identity.model_dump()] if (identity := estate.inventory.identity) else [],
        "control_plane_aggregator": kubernetes.AGGREGATOR.user,
        "cluster_metrics_api": cluster.addresses[0],
        "cluster_metrics_port": kubernetes.METRICS_PORT,
        "cluster_metrics_aggregator": kubernetes.AGGREGATOR.user,
    }
