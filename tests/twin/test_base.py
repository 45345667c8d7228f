"""What every machine has in common, asked of the machines themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from qhs.inventory import nearest
from qhs.twin import access, inside
from qhs.twin.names import Twin
from stacks.model import load
from tests.twin.hosts import Hosts

pytestmark = pytest.mark.live

ROLES = Path(__file__).parents[2] / "roles"
SSHD = {
    "permitrootlogin no",
    "passwordauthentication no",
    "kbdinteractiveauthentication no",
    "loglevel VERBOSE",
    "authenticationmethods publickey",
    "allowgroups qhs-ssh",
    "disableforwarding yes",
}
GUEST = "hall-infra1"


def test_ssh_takes_no_root_and_no_password_and_tells_all(hosts: Hosts) -> None:
    """C-HOST-01."""
    missing = {name: SSHD - set(said.splitlines()) for name, said in hosts.say("sshd -T").items()}
    assert {name: lines for name, lines in missing.items() if lines} == {}


@pytest.fixture
def guest(hosts: Hosts, twin: Twin) -> Iterator[str]:
    """An account with a key and no group."""
    key = access.operator_public_key(twin).strip()
    hosts.say(f"useradd --shell /bin/sh guest && echo '{key}' > /etc/ssh/authorized_keys.d/guest", [GUEST])
    yield "guest"
    hosts.say("userdel guest && rm /etc/ssh/authorized_keys.d/guest", [GUEST])


def test_a_key_alone_opens_nothing_and_a_group_opens_what_it_says(hosts: Hosts, twin: Twin, guest: str) -> None:
    def enters() -> bool:
        argv = ["ssh", "-F", str(access.config(twin)), "-o", "BatchMode=yes", "-l", guest, GUEST, "true"]
        return inside.run(twin, argv).returncode == 0

    assert not enters()
    hosts.say("usermod --groups qhs-ssh guest", [GUEST])
    assert enters()
    assert "not allowed" in hosts.say("sudo --list --other-user=guest", [GUEST])[GUEST]
    hosts.say("usermod --groups qhs-audit guest", [GUEST])
    audit = "runuser --user guest -- sudo --non-interactive journalctl --no-pager --lines=1 "
    assert not enters()
    allowed = audit.replace("--lines=1", "--unit=ssh.service")
    said = hosts.say(f"{allowed} >/dev/null && echo may; {audit}--rotate 2>&1; true", [GUEST])[GUEST]
    assert said.startswith("may\nsudo: a password is required"), said
    hosts.say("usermod --groups qhs-admin guest", [GUEST])
    assert "(ALL : ALL) NOPASSWD: ALL" in hosts.say("sudo --list --other-user=guest", [GUEST])[GUEST]


def test_the_kernel_has_the_settings_of_the_network(hosts: Hosts) -> None:
    wanted: dict[str, int] = yaml.safe_load((ROLES / "base" / "defaults" / "main.yml").read_text())["base_sysctl"]
    keys = {key: value for key, value in wanted.items() if key.startswith("net.")}
    paths = " ".join(f"/proc/sys/{key.replace('.', '/')}" for key in keys)
    wrong = []
    for name, said in hosts.say(f"grep -H . {paths}").items():
        found = [line.removeprefix("/proc/sys/").split(":") for line in said.splitlines()]
        assert len(found) > len(keys), name
        for path, value in found:
            (key,) = [one for one in keys if re.fullmatch(one.replace(".", "/").replace("*", "[^/]+"), path)]
            if int(value) != keys[key]:
                wrong.append((name, path, value))
    assert wrong == []


def test_updates_come_from_the_packages_of_the_site_and_from_nowhere_else(hosts: Hosts) -> None:
    command = (
        "apt-config dump Unattended-Upgrade; apt-config dump APT::Periodic; "
        "grep -rhsE '^(deb|URIs:)' /etc/apt; systemctl is-active apt-daily.timer apt-daily-upgrade.timer"
    )
    estate = load("twin")
    for name, said in hosts.say(command).items():
        origins = [line for line in said.splitlines() if re.match(r"Unattended-Upgrade::(Origins|Allowed).*:: ", line)]
        assert origins == ['Unattended-Upgrade::Origins-Pattern:: "origin=qhs";'], name
        assert 'APT::Periodic::Unattended-Upgrade "1";' in said, name
        own = nearest(estate, estate.machines[name].site, "packages")[0]
        assert said.splitlines()[-3:] == [f"URIs: https://{own}/", "active", "active"], name
        assert said.splitlines()[-4].endswith('";'), f"{name} has a source: {said.splitlines()[-4]}"


CHOSEN = 32768
"""The first port of net.ipv4.ip_local_port_range."""


def test_nothing_listens_but_what_a_role_owns(hosts: Hosts) -> None:
    """C-HOST-02: nothing old answers."""
    owned = {port for path in ROLES.glob("*/owns.yml") for port in yaml.safe_load(path.read_text())["ports"]}
    for name, said in hosts.say("ss --no-header --listening --tcp --udp --numeric").items():
        lines = [line.split() for line in said.splitlines()]
        found = {f"{kind}/{local.rpartition(':')[2]}" for kind, _, _, _, local, *_ in lines if not own(kind, local)}
        assert "tcp/22" in found, name
        assert found - owned - {"tcp/22"} == set(), name


def own(kind: str, local: str) -> bool:
    """Whether a program only sends from there, as conntrackd does: the kernel chose the port, and no rule opens it."""
    return kind == "udp" and int(local.rpartition(":")[2]) >= CHOSEN
