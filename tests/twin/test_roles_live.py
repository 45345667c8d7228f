"""Roles on live machines: whatever became of the last run, the next one brings a machine to where it should be."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from qhs import ruleset_access
from qhs.twin import inside
from qhs.twin.names import Twin
from tests.twin.hosts import Hosts

from .conftest import Run, WatchedUp

pytestmark = pytest.mark.live

MACHINE = "qhdc-fw1"
DROP_IN = "/run/systemd/system/keepalived.service.d/broken.conf"


def operator(twin: Twin, command: str) -> str:
    done = inside.run(twin, ["ssh", "-F", str(twin.state / "ssh" / "config"), MACHINE, f"sudo sh -ec '{command}'"])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def play(qhs: Run) -> subprocess.CompletedProcess[str]:
    return qhs("shell", "--", "ansible-playbook", "scripts/playbooks/site.yml", "--limit", MACHINE)


def test_a_run_that_was_cut_off_is_finished_by_the_next(qhs: Run, twin: Twin, second_up: WatchedUp) -> None:
    """Files are written, then keepalived cannot be told: as after a kill, only a later run can act on them."""
    operator(
        twin, f'mkdir -p {DROP_IN.rpartition("/")[0]}; echo "[Service]\nExecReload=\nExecReload=/bin/false" >{DROP_IN}'
    )
    operator(twin, "systemctl daemon-reload; echo >>/etc/keepalived/keepalived.conf; sysctl net.ipv4.ip_forward=0")
    assert play(qhs).returncode != 0
    operator(twin, f"rm {DROP_IN}; systemctl daemon-reload; sysctl net.ipv4.ip_forward=0")
    shown = "systemctl show --value -p StateChangeTimestampMonotonic keepalived"
    before = int(operator(twin, shown))
    second = play(qhs)
    assert second.returncode == 0, second.stdout
    assert int(operator(twin, shown)) > before
    assert operator(twin, "sysctl --values net.ipv4.ip_forward") == "1"
    assert "changed=0" in play(qhs).stdout


def test_the_key_opens_no_shell_before_sshd_knows_its_user(qhs: Run, twin: Twin, second_up: WatchedUp) -> None:
    operator(twin, "rm /etc/ssh/sshd_config.d/20-qhs-ruleset.conf; systemctl reload ssh")
    command = ["ssh", "-F", str(ruleset_access.write(twin)), "-o", "LogLevel=ERROR", MACHINE, "id"]
    answer = json.loads(inside.run(twin, command).stdout)
    assert answer["error"]["code"] == "usage"
    assert play(qhs).returncode == 0


def test_the_plain_strategy_does_what_mitogen_does(qhs: Run, hosts: Hosts, second_up: WatchedUp) -> None:
    """On two machines that have every role: nothing where nothing is to do, and one file where one has drifted."""
    machines = ("hall-infra1", "hall-fw1")
    plain = ("env", "ANSIBLE_STRATEGY=linear")
    command = (*plain, "ansible-playbook", "scripts/playbooks/site.yml", "--limit", ",".join(machines))
    first = qhs("shell", "--", *command)
    assert first.stdout.count("changed=0") == len(machines), first.stdout
    hosts.say("echo >>/etc/chrony/chrony.conf", machines[:1])
    mended = qhs("shell", "--", *command)
    assert mended.returncode == 0, mended.stdout
    assert re.findall(r"^(\S+) .* changed=[1-9]", mended.stdout, re.MULTILINE) == [machines[0]]
    hosts.say("chronyd -p -f /etc/chrony/chrony.conf >/dev/null; systemctl is-active chrony", machines)
