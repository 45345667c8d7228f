"""T-D09 on new machines: what check mode tells of them is what a run does, and the estate is whole again afterwards."""

from __future__ import annotations

import shutil

from qhs.layout import topology
from qhs.twin import lifecycle, outage
from qhs.twin.names import Twin
from stacks.model import load
from tests.twin.conftest import Run, WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.test_roles_check_mode import INVENTORY, SITE, TRUST, assert_told, with_every_role


def test_on_new_machines(qhs: Run, twin: Twin, hosts: Hosts, second_up: WatchedUp, figures: dict[str, float]) -> None:
    """They have lost their disks: no file, user, unit or certificate of a role is there; of a secret store one node.

    The states of the site's stacks are lost with them, and come back from the other site's copies.
    """
    far = [name for name in with_every_role("ndc") if name not in INVENTORY["role_hsm"]["hosts"]]
    machines = (*far, "qhdc-hsm2")
    for name in machines:
        outage.power_off(twin, name)
        shutil.rmtree(twin.machine(name).folder)
    lifecycle.up(topology(load("twin")), twin=twin)
    try:
        told = assert_told(qhs, hosts, SITE, machines)
    finally:  # their rulesets are the engine's
        assert qhs("state", "adopt", "--at", "qhdc").returncode == 0
        for site in ("qhdc", "ndc"):
            done = qhs("shell", "--", "pulumi", "up", "-s", f"twin.{site}.network", "--refresh", "--yes")
            assert done.returncode == 0, done.stdout
    # Most members of what databases agree on are new: the last one is wanted to begin it anew.
    last = set(INVENTORY["role_database_quorum"]["hosts"]) - set(machines)
    assert_told(qhs, hosts, TRUST, (*machines, *(name for name in last if name.startswith("ndc-"))))
    up = qhs("up")
    assert up.returncode == 0, up.stderr[-3000:]
    assert qhs("state", "status").returncode == 0
    figures |= {"machines": len(machines), "files told of": sum(len(one.written) for one in told.values())}
