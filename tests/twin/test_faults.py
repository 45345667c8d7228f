"""What breaks while the estate runs or is being configured heals by `qhs up`, or by itself: no step by hand."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from qhs.inventory import inventory
from qhs.twin import outage
from qhs.twin.names import Twin
from stacks.model import load
from tests.twin.clocks import marks
from tests.twin.conftest import NAME, QHS, Run, WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

ESTATE = load("twin")
AHEAD, FURTHEST = 600, 0.1  # seconds
VARIABLES: dict[str, dict[str, Any]] = inventory(ESTATE)["_meta"]["hostvars"]
MACHINE, OTHER, INFRA = "ndc-app1", "ndc-db1", "ndc-infra1"
# Its content drifts, so that there is something to do, and what acts on it takes long enough to be met at it.
SLOW = "/run/systemd/system/chrony.service.d/slow.conf"
DRIFT = (
    f"mkdir -p {SLOW.rpartition('/')[0]} && printf '[Service]\\nExecStartPre=/bin/sleep 90\\n' >{SLOW}"
    " && systemctl daemon-reload && echo >>/etc/chrony/chrony.conf"
)
PLAY = ("shell", "--", "ansible-playbook", "scripts/playbooks/site.yml", "--limit", MACHINE)
BUSY = "systemctl is-active chrony; ls -A /run/qhs-roles 2>/dev/null; true"


@contextmanager
def halfway(hosts: Hosts, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A `qhs` that is restarting chronyd on a machine."""
    hosts.say(DRIFT, [MACHINE])
    environ = {**os.environ, "QHS_TWIN": NAME}
    with subprocess.Popen(
        [QHS, *command], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        try:
            await_(lambda: hosts.say(BUSY, [MACHINE])[MACHINE].split() == ["activating", "time"], 180)
            yield running
        finally:
            running.kill()


def heals(qhs: Run, hosts: Hosts) -> None:
    """The next run does what was left, so that the one after it does nothing."""
    done = qhs("up", "--changed")
    assert done.returncode == 0, done.stderr[-3000:]
    again = qhs(*PLAY)
    assert "changed=0" in again.stdout
    assert hosts.say(BUSY, [MACHINE])[MACHINE].split() == ["active"]


def test_a_machine_that_dies_while_a_role_runs_is_named_and_the_next_run_heals_it(
    qhs: Run, twin: Twin, hosts: Hosts, second_up: WatchedUp
) -> None:
    with halfway(hosts, *PLAY) as running:
        outage.power_off(twin, MACHINE)
        said = running.communicate(timeout=90)[0]
    assert running.returncode != 0
    assert re.search(rf"^{MACHINE} .* unreachable=1 ", said, re.MULTILINE), said
    heals(qhs, hosts)


def test_up_that_is_killed_leaves_nothing_running_and_the_next_one_goes_on(
    qhs: Run, hosts: Hosts, second_up: WatchedUp
) -> None:
    with halfway(hosts, "up") as running:
        running.send_signal(signal.SIGKILL)
    await_(lambda: not ansible())
    hosts.say(f"rm {SLOW}; systemctl daemon-reload", [MACHINE])
    heals(qhs, hosts)


def ansible() -> list[bytes]:
    """What of Ansible runs for the suite's twin."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command, own = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
            if b"ansible-playbook" in command and f"QHS_TWIN={NAME}\0".encode() in own:
                found.append(command)
    return found


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
    hosts.say(f"rm {folder}/wrong.conf; systemctl daemon-reload", [INFRA])
    hosts.say("systemctl restart chrony")  # so that nobody remembers it


def test_a_wrong_clock_is_outvoted_everywhere(hosts: Hosts, wrong_clock: str) -> None:
    """C-TIME-01: each site's machines call it false and stay with the others."""
    asked = (OTHER, "qhdc-app1", "hall-fw1")
    await_(lambda: {marks(hosts, name)[wrong_clock] for name in asked} == {"x"}, 200)
    for name, said in hosts.say("chronyc -n -c tracking; chronyc -n -c sources", asked).items():
        tracking, *sources = csv.reader(said.splitlines())
        assert tracking[13] == "Normal", name
        assert abs(float(tracking[4])) < FURTHEST, name
        assert max(abs(float(row[7])) for row in sources) == pytest.approx(AHEAD, abs=5), name
