"""T-D09: check mode names the files that a run then changes, no more, no fewer, on drifted machines.

On new ones: tests/soak/test_new_machines.py.

By its name it runs after the tests that judge logs: a store that is made anew has lost its chain, and the other store,
which was told of it, says so for days (C-LOG-02).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from qhs.inventory import inventory
from qhs.playbooks import groups_of, plays, runs_on
from stacks.model import load
from tests.twin.conftest import Run, WatchedUp
from tests.twin.hosts import Hosts

pytestmark = pytest.mark.live

INVENTORY = inventory(load("twin"))
SITE, LEASE, TRUST = "site.yml", "lease.yml", "trust.yml"
OWNED_BY = {
    path.parent.name: [file["path"] for file in yaml.safe_load(path.read_text())["files"]]
    for path in (Path(__file__).parents[2] / "roles").glob("*/owns.yml")
}
OWNED = sorted(path for paths in OWNED_BY.values() for path in paths)
# What programs make when they are told to act on the files that check mode names.
MADE = re.compile(
    r"/etc/(passwd|group|shadow|gshadow)-?|/etc/qhs/tls/machine\..*|/etc/ssh/(qhs-revoked\.krl|.*-cert\.pub)"
    r"|/etc/iproute2/rt_addrprotos\.d/keepalived\.conf"
    r"|/etc/swanctl/x509ca/site\.crt"  # of its certificate the part that charon wants by itself
    r"|/etc/qhs/ruleset\.nft"  # a new member of a pair takes its peer's
)
FIREWALL = "qhdc-fw2"
CERTIFICATE = "/etc/qhs/tls/machine.crt"
CHECK, FORWARDING = "/usr/local/sbin/qhs-pki check ", "sysctl net.ipv4.ip_forward "
SEARCHED = ("/etc", "/usr/local")
ELSEWHERE = " ".join(path for path in OWNED if not path.startswith(SEARCHED))
SHOW = (
    f"set -- {' '.join(SEARCHED)} $(ls {ELSEWHERE} 2>/dev/null);"
    'find "$@" -type f -printf "%p %m %u %g\\n"; find "$@" -type f -exec sha256sum {} +'
)


def with_every_role(site: str) -> tuple[str, ...]:
    """Machines of a site that have every role between them; of a pair the one that does not hold its addresses."""
    groups = {group for hosts in runs_on().values() for group in hosts} - {"all"}
    return tuple(
        sorted({[name for name in INVENTORY[one]["hosts"] if name.startswith(f"{site}-")][-1] for one in groups})
    )


@dataclass
class Told:
    """What a run of Ansible says of one machine."""

    written: set[str] = field(default_factory=set)
    idle: set[str] = field(default_factory=set)
    lapsed: set[str] = field(default_factory=set)

    def has_lapsed(self, command: str) -> bool:
        """`command`: how it begins."""
        return any(one.startswith(command) for one in self.lapsed)


def owned(playbook: str) -> set[str]:
    """The files of the roles that a playbook plays."""
    by_playbook = {
        each: {path for play in plays(each) for role in play["roles"] for path in OWNED_BY[role["role"]]}
        for each in (LEASE, TRUST)
    }
    return by_playbook.get(playbook, set(OWNED).difference(*by_playbook.values()))


def taking_part(playbook: str, machines: tuple[str, ...]) -> tuple[str, ...]:
    """Those of some machines that a playbook plays on."""
    if playbook == SITE:
        return machines
    having = {name for group in groups_of(playbook) for name in INVENTORY[group]["hosts"]}
    return tuple(one for one in machines if one in having)


def play(qhs: Run, playbook: str, machines: tuple[str, ...], *options: str) -> dict[str, Told]:
    """Run a playbook on some machines."""
    command = ["ansible-playbook", f"scripts/playbooks/{playbook}", "-v", "--limit", ",".join(machines), *options]
    done = qhs("shell", "--", *command)
    assert done.returncode == 0, done.stdout[-4000:]
    said: dict[str, Told] = defaultdict(Told)
    for line in done.stdout.splitlines():
        if result := re.match(r"changed: \[([\w-]+).*?\] => (\{.*\})$", line):
            one, answer = said[result[1]], json.loads(result[2])
            one.written.update(answer.get("written", ()))
            one.idle.update(answer.get("idle", ()))
            one.lapsed.update(answer.get("lapsed", ()))
    return said


def shown(hosts: Hosts, machines: tuple[str, ...]) -> dict[str, set[tuple[str, str]]]:
    """Of each machine every file with its mode, owner and group, and with its hash."""
    found: dict[str, set[tuple[str, str]]] = {}
    for name, said in hosts.say(SHOW, machines).items():
        rows = [re.fullmatch(r"([0-9a-f]{64})  (.*)|(.*) (\d+ \S+ \S+)", line) for line in said.splitlines()]
        found[name] = {(row[2] or row[3], row[1] or row[4]) for row in rows if row}
        assert len(found[name]) == len(rows)
    return found


def changed(before: set[tuple[str, str]], after: set[tuple[str, str]]) -> set[str]:
    return {path for path, _ in before ^ after}


def assert_told(qhs: Run, hosts: Hosts, playbook: str, machines: tuple[str, ...]) -> dict[str, Told]:
    """What check mode has told of all that the playbook's roles own, once a run has done just that."""
    machines = taking_part(playbook, machines)
    before = shown(hosts, machines)
    told = play(qhs, playbook, machines, "--check")
    assert {path for one in told.values() for path in one.written} == owned(playbook)
    meanwhile = shown(hosts, machines)
    assert {name: found for name in machines if (found := changed(before[name], meanwhile[name]))} == {}
    play(qhs, playbook, machines)
    after = shown(hosts, machines)
    for name in machines:
        found = changed(before[name], after[name])
        assert {path for path in found if not MADE.fullmatch(path)} == told[name].written, name
        assert (CERTIFICATE in found) == told[name].has_lapsed(CHECK), name
    assert play(qhs, playbook, machines, "--check") == {}
    return told


def test_on_drifted_machines(qhs: Run, hosts: Hosts, second_up: WatchedUp) -> None:
    """Every file of every role, by content or by mode; a unit; the kernel; a certificate."""
    machines = with_every_role("qhdc")
    content, mode = OWNED[::2], OWNED[1::2]
    hosts.say(
        f"for one in {' '.join(content)}; do [ ! -e $one ] || echo >>$one; done;"
        f"for one in {' '.join(mode)}; do [ ! -e $one ] || chmod u=rX,g=,o=r $one; done;"
        f"rm {CERTIFICATE}; systemctl disable --now chrony",
        machines,
    )
    hosts.say("sysctl net.ipv4.ip_forward=0", [FIREWALL])
    told = assert_told(qhs, hosts, SITE, machines)
    assert_told(qhs, hosts, LEASE, machines)
    assert_told(qhs, hosts, TRUST, machines)
    assert [name for name in machines if "chrony.service" not in told[name].idle] == []
    assert told[FIREWALL].has_lapsed(FORWARDING)
