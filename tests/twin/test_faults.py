"""What breaks while the estate runs or is being configured heals by `qhs up`, or by itself: no step by hand."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from qhs.inventory import inventory, records
from qhs.twin import outage
from qhs.twin.names import Twin
from stacks.model import load
from tests.twin.conftest import NAME, QHS, Run, WatchedUp
from tests.twin.hosts import Hosts

pytestmark = pytest.mark.live

ESTATE = load("twin")
SERVERS = {
    str(one.targets[0].ipv4.network_address): name
    for name, machine in ESTATE.machines.items()
    for one in machine.services
    if one.service == "time"
}
"""Time servers by their address."""
AHEAD, FURTHEST = 600, 0.1  # seconds
VARIABLES: dict[str, dict[str, Any]] = inventory(ESTATE)["_meta"]["hostvars"]
MACHINE, OTHER, INFRA = "ndc-app1", "ndc-db1", "ndc-infra1"
# Its content drifts, so that there is something to do, and what acts on it takes long enough to be met at it.
SLOW = "/run/systemd/system/chrony.service.d/slow.conf"
DRIFT = (
    f"mkdir -p {SLOW.rpartition('/')[0]} && printf '[Service]\\nExecStartPre=/bin/sleep 90\\n' >{SLOW}"
    " && systemctl daemon-reload && echo >>/etc/chrony/chrony.conf"
)
BUSY = "systemctl is-active chrony; true"


def await_(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, what
        time.sleep(0.5)


@pytest.fixture
def halfway(hosts: Hosts, second_up: WatchedUp) -> Iterator[subprocess.Popen[str]]:
    """A `qhs up` that is restarting chronyd on a machine."""
    hosts.say(DRIFT, [MACHINE])
    environ = {**os.environ, "QHS_TWIN": NAME}
    with subprocess.Popen(
        [QHS, "up"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        await_(lambda: hosts.say(BUSY, [MACHINE])[MACHINE].strip() == "activating", 90)
        yield running
        running.kill()


def heals(qhs: Run, hosts: Hosts) -> None:
    """The next run does what was left, the one after it nothing."""
    done = qhs("up", "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["configured"][MACHINE] > 0
    again = qhs("shell", "--", "ansible-playbook", "scripts/playbooks/site.yml", "--limit", MACHINE)
    assert "changed=0" in again.stdout
    assert hosts.say(BUSY, [MACHINE])[MACHINE].strip() == "active"


def test_a_machine_that_dies_while_a_role_runs_is_named_and_the_next_run_heals_it(
    qhs: Run, twin: Twin, hosts: Hosts, halfway: subprocess.Popen[str]
) -> None:
    outage.power_off(twin, MACHINE)
    said = halfway.communicate(timeout=60)[0]
    assert halfway.returncode == 1
    assert MACHINE in said, said
    heals(qhs, hosts)


def test_up_that_is_killed_leaves_nothing_running_and_the_next_one_goes_on(
    qhs: Run, hosts: Hosts, halfway: subprocess.Popen[str]
) -> None:
    halfway.send_signal(signal.SIGKILL)
    halfway.communicate(timeout=20)  # ends when nobody holds the pipe any more
    hosts.say(f"rm {SLOW}; systemctl daemon-reload", [MACHINE])
    heals(qhs, hosts)


def test_a_site_lives_without_its_infrastructure_and_has_it_back(twin: Twin, hosts: Hosts) -> None:
    """Names, time and certificates: the first two from other sites, the third once it is back; by itself."""
    names = {one: f"getent ahostsv4 {one}.{ESTATE.inventory.domain}" for one in (MACHINE, "qhdc-db1")}
    command = "; ".join(f"timeout 5 {one}" for one in names.values())
    outage.power_off(twin, INFRA)
    try:
        said = hosts.say(command, [OTHER])[OTHER]
        assert {line.split()[0] for line in said.splitlines()} == {records(ESTATE)[one][0] for one in names}
        await_(lambda: INFRA not in following(hosts, OTHER), 200)
        assert following(hosts, OTHER) - {OTHER}
    finally:
        outage.power_on(twin, INFRA)
    hosts.say("systemctl is-system-running --wait", [INFRA])
    known = hosts.say(
        f"kdig @{VARIABLES[INFRA]['dns_resolver'][0]} +short {MACHINE}.{ESTATE.inventory.domain}", [OTHER]
    )
    assert known[OTHER].split() == [records(ESTATE)[MACHINE][0]]
    hosts.say("qhs-pki renew --now", [OTHER])
    await_(lambda: INFRA in following(hosts, OTHER), 200)


@pytest.fixture
def wrong_clock(hosts: Hosts) -> Iterator[str]:
    """A time server ten minutes ahead, for everybody who asks it: all clocks are one kernel's, so its chronyd lies."""
    source = VARIABLES[INFRA]["qhs_time_sources"][0]
    lies = f"server {source} iburst minpoll 2 maxpoll 2 offset {AHEAD}\\nlocal stratum 8\\nallow\\ncmdport 0\\n"
    starts = "[Service]\\nExecStart=\\nExecStart=!/usr/sbin/chronyd -F 1 -x -f /run/wrong.conf\\n"
    folder = "/run/systemd/system/chrony.service.d"
    hosts.say(
        f"mkdir -p {folder}; printf '{lies}' >/run/wrong.conf; printf '{starts}' >{folder}/wrong.conf;"
        "systemctl daemon-reload; systemctl restart chrony",
        [INFRA],
    )
    yield INFRA
    hosts.say(f"rm {folder}/wrong.conf; systemctl daemon-reload; systemctl restart chrony", [INFRA])


def test_a_wrong_clock_is_outvoted_everywhere(hosts: Hosts, wrong_clock: str) -> None:
    """C-TIME-01: each site's machines call it false and stay with the others."""
    asked = (OTHER, "qhdc-app1", "hall-fw1")
    await_(lambda: {marks(hosts, name)[wrong_clock] for name in asked} == {"x"}, 200)
    for name, said in hosts.say("chronyc -n -c tracking; chronyc -n -c sources", asked).items():
        tracking, *sources = csv.reader(said.splitlines())
        assert tracking[13] == "Normal", name
        assert abs(float(tracking[4])) < FURTHEST, name
        assert max(abs(float(row[7])) for row in sources) == pytest.approx(AHEAD, abs=5), name


def marks(hosts: Hosts, machine: str) -> dict[str, str]:
    """What a machine's chronyd thinks of each time server: `*` and `+` it follows, `x` is wrong."""
    rows = csv.reader(hosts.say("chronyc -n -c sources", [machine])[machine].splitlines())
    return {SERVERS[row[2]]: row[1] for row in rows}


def following(hosts: Hosts, machine: str) -> set[str]:
    """The time servers that a machine's chronyd takes into account."""
    return {name for name, mark in marks(hosts, machine).items() if mark in "*+"}
