"""Where nothing is described otherwise, `qhs up` finds what is not as it was left, and configures that site alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from stacks.model import load
from tests.twin.conftest import Run, WatchedUp
from tests.twin.hosts import Hosts

pytestmark = pytest.mark.live

FIREWALL = Path(__file__).parents[2] / "roles" / "firewall" / "vars" / "main.yml"

MACHINE = "hall-fw1"
FILE = "/etc/sysctl.d/70-qhs-forward.conf"
# Not forwarding itself: a member of the lease behind it knows no leader any more, and that would be found too.
SETTING = "net.netfilter.nf_conntrack_tcp_be_liberal"
KERNEL = " ".join(["sysctl", *sorted(yaml.safe_load(FIREWALL.read_text())["firewall_kernel"])])


def test_a_file_a_unit_and_a_state_of_the_kernel_are_found_and_put_right(
    qhs: Run, hosts: Hosts, second_up: WatchedUp
) -> None:
    """By its name it runs before tests that describe something otherwise: persons, certificates that are revoked."""
    hosts.say(f"echo >>{FILE}; systemctl stop chrony; sysctl {SETTING}=0", [MACHINE])
    done = qhs("up")
    assert done.returncode == 0, done.stderr
    drifted = set(re.findall(r"(\S+): not as it was left: (.*?)(?:: exit code .*)?\n", done.stderr))
    assert drifted == {(MACHINE, what) for what in (FILE, KERNEL, "chrony.service")}
    here = [one for one in load("twin").machines.values() if one.site == "hall"]
    assert f"site.yml on {len(here)} machines" in done.stderr
    shown = hosts.say(f"tail -1 {FILE}; sysctl {SETTING}; systemctl is-active chrony", [MACHINE])[MACHINE]
    assert shown.splitlines()[-2:] == [f"{SETTING} = 1", "active"]
    assert shown.splitlines()[0], "the empty line that was added is still at the end"
