"""T-B15: snapshots of the clusters' stores, and a cluster given back while everybody who watches it goes on."""

from __future__ import annotations

import json

import pytest

from stacks.model import load
from stacks.model.estate import CONTROL, QUORUM
from stacks.model.kubernetes import DOMAIN, HERE
from tests.twin.conftest import Run
from tests.twin.hosts import Hosts
from tests.twin.test_control_plane import Kubectl, kubectl
from tests.twin.waiting import await_

__all__ = ["kubectl"]

pytestmark = pytest.mark.live

ESTATE = load("twin")
CONTROLS = [name for name, machine in ESTATE.machines.items() if CONTROL in machine.roles]
DATABASES = [name for name, machine in ESTATE.machines.items() if QUORUM in machine.roles]
SITE, MASTER, NODE = "ndc", "ndc-cp1", "ndc-app1"
PROGRAM = "/usr/local/lib/qhs-etcd-snapshots/qhs_etcd_snapshots.py"
FOLDER = "/var/lib/qhs-etcd-snapshots"
METRICS = "/var/lib/prometheus/node-exporter/qhs_etcd_snapshots.prom"
BEFORE, AFTER = "before-the-snapshot", "after-the-snapshot"
WATCHERS = "systemctl show -P MainPID qhs-kubelet qhs-kube-proxy qhs-kube-router qhs-coredns"


def test_each_cluster_has_a_snapshot_that_verifies_and_databases_have_none(hosts: Hosts) -> None:
    """For its user alone; how old it is stands among the machine's figures."""
    await_(lambda: all(hosts.say(f"ls {FOLDER} | grep -c Z.db || true", CONTROLS)[one] != "0" for one in CONTROLS), 30)
    for machine in CONTROLS:
        newest = json.loads(hosts.say(f"{PROGRAM} newest", [machine])[machine])
        look = f"stat -c '%a %U' {FOLDER} {FOLDER}/{newest['name']}; grep ^qhs_ {METRICS}"
        assert hosts.say(look, [machine])[machine].splitlines() == [
            "700 qhs-etcd-snapshots",
            "600 qhs-etcd-snapshots",
            f"qhs_etcd_snapshot_seconds {newest['seconds']}",
        ]
    assert set(hosts.say(f"ls -d {FOLDER} 2>/dev/null || echo none", DATABASES).values()) == {"none"}


def test_what_came_after_the_snapshot_is_gone_for_everybody_and_nobody_was_restarted(
    qhs: Run, hosts: Hosts, kubectl: Kubectl
) -> None:
    """A node's own server of names has it from a watch: it answered for the newer service, and does not any more."""
    service = ("create", "service", "clusterip")
    assert kubectl(SITE, *service, BEFORE, "--tcp=80")[0] == 0
    try:
        hosts.say("systemctl start qhs-etcd-snapshot", [MASTER])
        assert kubectl(SITE, *service, AFTER, "--tcp=80")[0] == 0
        await_(lambda: resolved(hosts, BEFORE) and resolved(hosts, AFTER), 30)
        at_work, revision = hosts.say(WATCHERS, [NODE])[NODE], told(hosts)
        done = qhs("cloud", "restore", SITE, "--yes", "--json")
        assert done.returncode == 0, done.stderr[-3000:]
        assert json.loads(done.stdout)["gate"] == ""
        assert told(hosts) > revision, "no watcher is ever told of an older one"
        assert kubectl(SITE, "get", "service", AFTER)[0] == 1
        assert kubectl(SITE, "get", "service", BEFORE)[0] == 0
        await_(lambda: resolved(hosts, BEFORE) and not resolved(hosts, AFTER), 60)
        assert hosts.say(WATCHERS, [NODE])[NODE] == at_work
        assert hosts.say("ls /var/lib/qhs-etcd", [MASTER])[MASTER] == "member", "what was before is kept no longer"
    finally:
        kubectl(SITE, "delete", "service", "--ignore-not-found", BEFORE, AFTER)


def test_a_snapshot_that_does_not_verify_changes_nothing(qhs: Run, hosts: Hosts) -> None:
    damaged = f"{FOLDER}/20260101T000000Z.db"
    hosts.say(f"head -c 100000 $(ls {FOLDER}/*Z.db | tail -1) >{damaged}", [MASTER])
    running = "systemctl show -P MainPID qhs-etcd qhs-kube-apiserver"
    before = hosts.say(running, [MASTER])
    try:
        done = qhs("cloud", "restore", SITE, "--snapshot", "20260101T000000Z.db", "--yes")
    finally:
        hosts.say(f"rm {damaged}", [MASTER])
    assert done.returncode == 1
    assert "found content that its own digest does not fit" in " ".join(done.stderr.split())
    assert hosts.say(running, [MASTER]) == before


def resolved(hosts: Hosts, service: str) -> bool:
    asked = f"kdig @{HERE} +short {service}.default.svc.{DOMAIN}"
    return hosts.say(f"{asked} || true", [NODE])[NODE] != ""


def told(hosts: Hosts) -> int:
    """The revision of the store."""
    return int(hosts.say("/usr/local/lib/qhs-etcd/qhs_etcd.py revision etcd", [MASTER])[MASTER])
