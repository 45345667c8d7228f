"""Persons come in through a bastion, recorded, for their hours, and no other way (C-NET-04, C-IAM-02)."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qhs import pki, ruleset_access
from qhs.layout import topology
from qhs.pki import files, people, users
from qhs.twin import access, boot, inside
from qhs.twin.names import Twin
from qhs.twin.sshkey import make
from stacks.model import load
from stacks.model.estate import BASTION as BASTION_ROLE
from tests.pace import Pace
from tests.twin import reach
from tests.twin.conftest import Run, WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

ESTATE = load("twin")
BASTION, MACHINE, DATABASE = "qhdc-bastion1", "qhdc-app1", "qhdc-db1"
FAR = "ndc-bastion1"
CLIENT = "official"
RECORDINGS = "/var/log/qhs-sessions"
HOURS = ESTATE.catalogue.people["suppliers"].hours


@dataclass(frozen=True)
class Visitor:
    """Somebody at a desk in the users' network, with a key and an agent."""

    twin: Twin
    key: Path

    def ssh(self, group: str, *words: str, bastion: str, family: int) -> list[str]:
        """The command line that asks a bastion for something."""
        (held,) = [one for one in ESTATE.machines[bastion].services if one.service == "bastion"]
        known = " ".join(str(path) for path in files.hosts(files.folder(self.twin)).iterdir())
        options = {
            "BatchMode": "yes", "HostKeyAlias": bastion, "UserKnownHostsFile": known, "LogLevel": "ERROR",
            "GlobalKnownHostsFile": "none", "StrictHostKeyChecking": "yes", "IdentityFile": str(self.key),
        }  # fmt: skip
        given = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        agent = ["ssh-agent", "sh", "-c", 'ssh-add -q "$0" && exec "$@"', str(self.key)]
        target = f"{group}@{held.targets[0].texts()[family]}"
        return inside.command(self.twin, [*agent, "ssh", "-F", "none", "-A", *given, target, *words], CLIENT)

    def says(
        self, group: str, *words: str, typed: str = "", bastion: str = BASTION, family: int = 0
    ) -> subprocess.CompletedProcess[str]:
        argv = self.ssh(group, *words, bastion=bastion, family=family)
        return subprocess.run(argv, input=typed, capture_output=True, text=True, check=False, timeout=300)


type Visit = Callable[..., Visitor]


@pytest.fixture
def visit(twin: Twin, tmp_path: Path, second_up: WatchedUp) -> Visit:
    """Somebody with a certificate of our making, or with none."""

    def arrive(name: str, group: str, until: datetime | None = None, now: datetime | None = None) -> Visitor:
        key = make(tmp_path / name)
        if until is not None:
            person = people.Person(name, group, until)
            public = key.with_name(f"{name}.pub").read_text()
            signed = people.certificate(pki.ensure(twin), public, person, now or datetime.now(UTC))
            key.with_name(f"{name}-cert.pub").write_bytes(signed)
        return Visitor(twin, key)

    return arrive


def let_in(qhs: Run, visitor: Visitor, group: str, *options: str) -> subprocess.CompletedProcess[str]:
    key = str(visitor.key.with_name(f"{visitor.key.name}.pub"))
    return qhs("pki", "person", visitor.key.name, "--group", group, "--key", key, *options)


@pytest.fixture
def operator(qhs: Run, visit: Visit) -> Visitor:
    """An operator who was let in as anybody would be."""
    visitor = visit("nguyen-van-a", "operators")
    done = let_in(qhs, visitor, "operators", "--hours", "1")
    assert done.returncode == 0, done.stderr
    return visitor


def since() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")


def journal(hosts: Hosts, machine: str, start: str) -> str:
    return hosts.say(f"journalctl --no-pager --output=cat --since='{start}'", [machine])[machine]


def recordings(hosts: Hosts, machine: str = BASTION) -> list[str]:
    """The newest first."""
    return hosts.say(f"ls -td {RECORDINGS}/*/*", [machine])[machine].split()


def test_a_session_is_recorded_with_who_when_where_and_what(hosts: Hosts, operator: Visitor) -> None:
    start = since()
    done = operator.says("operators", "-tt", MACHINE, typed="echo typed-$((40+2)); sudo -n id -un; exit 7\n")
    assert done.returncode == 7, done.stderr
    assert "typed-42" in done.stdout
    last = recordings(hosts)[0]
    record = json.loads(hosts.say(f"cat {last}/log.json", [BASTION])[BASTION])
    serial = users.serial_of(operator.key.with_name("nguyen-van-a-cert.pub"))
    assert record["runargv"][-1] == MACHINE
    assert f"nguyen-van-a/{serial}" in record["runargv"]
    assert abs(record["timestamp"]["seconds"] - datetime.now(UTC).timestamp()) < 60
    assert any(one.startswith("SSH_CLIENT=") for one in record["submitenv"])
    typed = hosts.say(f"zcat -f {last}/ttyin", [BASTION])[BASTION]
    assert "echo typed-$((40+2)); sudo -n id -un; exit 7" in typed
    replayed = hosts.say(
        f"sudoreplay -d {RECORDINGS} -s 1000 -m 0.01 -n {last.removeprefix(RECORDINGS + '/')}", [BASTION]
    )
    assert "typed-42" in replayed[BASTION]
    there = journal(hosts, MACHINE, start)
    assert f"ID nguyen-van-a (serial {serial})" in there, "the machine itself knows who it was"
    assert re.search(r"operators : .*COMMAND=/usr/bin/id -un", there)


def test_what_goes_through_without_a_terminal_is_recorded_too(hosts: Hosts, operator: Visitor) -> None:
    """Also what looks like the answer to a question for a password."""
    done = operator.says("operators", MACHINE, "sh", typed="echo 'Password: '; sleep 1; echo piped-$((40+2))\n")
    assert done.stdout == "Password: \npiped-42\n", done.stderr
    last = recordings(hosts)[0]
    for stream, text in {"stdin": "echo piped-$((40+2))", "stdout": "piped-42"}.items():
        assert text in hosts.say(f"zcat -f {last}/{stream}", [BASTION])[BASTION], stream


def test_a_command_is_written_down_and_nothing_else_is_to_be_had(hosts: Hosts, operator: Visitor) -> None:
    start = since()
    done = operator.says("operators", DATABASE, "echo one two | tr a-z A-Z")
    assert done.stdout == "ONE TWO\n", done.stderr
    assert "nguyen-van-a" in journal(hosts, BASTION, start)
    assert f"-- {DATABASE} 'echo one two | tr a-z A-Z'" in journal(hosts, BASTION, start)
    assert "wanted one of" in operator.says("operators").stderr, "no shell on the bastion"
    assert "wanted one of" in operator.says("operators", BASTION).stderr
    assert "refused operators nguyen-van-a" in journal(hosts, BASTION, start)
    through = operator.says("operators", "-W", f"{ESTATE.machines[DATABASE].management.address.texts()[0]}:22")
    assert "forwarding failed" in through.stderr
    sftp = operator.says("operators", "-s", "sftp")
    assert sftp.returncode != 0
    assert operator.says("operators", DATABASE, "sudo -n true").returncode == 0, "operators administer machines"


def test_the_person_cannot_reach_the_recording(hosts: Hosts, operator: Visitor) -> None:
    """The only programs that the account could run are the forced ones; even with a shell it could not."""
    assert operator.says("operators", MACHINE, "true").returncode == 0
    last = recordings(hosts)[0]
    tries = [
        f"cat {last}/log",
        f"rm -rf {last}",
        f"echo >>{last}/log",
        f"mv {last} /tmp",
        "sudo -n rm -rf /var/log/qhs-sessions",
    ]
    for one in tries:
        code = f"runuser --user operators -- sh -c 'id -un; {one}' 2>&1; echo rc=$?"
        account, *said, result = hosts.say(code, [BASTION])[BASTION].splitlines()
        assert account == "operators"
        assert result != "rc=0", one
        assert re.search("Permission denied|a password is required|not allowed", "\n".join(said)), said
    assert last in recordings(hosts)


# Where it is refused, and what sshd writes down. Each at a place of its own: sshd stops to listen to an address from
# which it refused some.
REFUSED = {
    "no certificate": (BASTION, 0, None, False, "Failed publickey for suppliers"),
    "no entry": (BASTION, 1, timedelta(hours=1), False, "Certificate does not contain an authorized principal"),
    "past certificate": (FAR, 0, -timedelta(minutes=1), True, "Certificate invalid: expired"),
}


@pytest.mark.parametrize("case", REFUSED, ids=[one.replace(" ", "-") for one in REFUSED])
def test_a_supplier_is_refused(case: str, hosts: Hosts, twin: Twin, qhs: Run, visit: Visit) -> None:
    bastion, family, left, entered, reason = REFUSED[case]
    now = datetime.now(UTC)
    name = case.replace(" ", "-")
    visitor = visit(name, "suppliers")
    if entered:
        assert let_in(qhs, visitor, "suppliers").returncode == 0
    if left is not None:
        visitor = visit(name, "suppliers", now + left, now - timedelta(hours=1))
    start = since()
    done = visitor.says("suppliers", bastion.replace("bastion", "app"), "true", bastion=bastion, family=family)
    assert (done.returncode, "Permission denied" in done.stderr) == (255, True), done.stderr
    assert reason in journal(hosts, bastion, start)


def test_a_supplier_enters_what_the_catalogue_says_for_as_long_as_it_says(
    hosts: Hosts, twin: Twin, qhs: Run, visit: Visit
) -> None:
    visitor = visit("le-b", "suppliers")
    assert f"wanted {HOURS} at most" in let_in(qhs, visitor, "suppliers", "--hours", str(HOURS + 1)).stderr
    assert let_in(qhs, visitor, "suppliers", "--hours", "1").returncode == 0
    assert visitor.says("suppliers", MACHINE, "id -un").stdout == "suppliers\n"
    assert visitor.says("suppliers", MACHINE, "sudo -n id").returncode != 0
    assert "wanted one of" in visitor.says("suppliers", DATABASE, "id").stderr
    # The same certificate, and an entry that has ended: sshd on the bastion compares it with the clock.
    entries = json.loads(files.people(pki.ensure(twin)).read_text())
    entries["suppliers"]["le-b"] = (datetime.now(UTC) - timedelta(seconds=1)).strftime(people.AS_SSHD)
    files.people(pki.ensure(twin)).write_text(json.dumps(entries))
    assert qhs("shell", "--", "ansible-playbook", "scripts/playbooks/bastions.yml").returncode == 0
    start = since()
    assert visitor.says("suppliers", "ndc-app1", "true", bastion=FAR, family=1).returncode == 255
    assert "Refused by certificate principals options" in journal(hosts, FAR, start)


def test_a_session_ends_with_the_certificate(hosts: Hosts, operator: Visitor, visit: Visit) -> None:
    """The entry is good for an hour, this certificate for some seconds."""
    pace = Pace()
    good = pace.limit(10)
    until = datetime.now(UTC) + timedelta(seconds=good)
    visitor = visit("nguyen-van-a", "operators", until)
    done = visitor.says("operators", DATABASE, f"echo begun; sleep {5 * good}")
    assert done.stdout == "begun\n"
    assert done.returncode != 0
    assert timedelta(seconds=-2) < datetime.now(UTC) - until < timedelta(seconds=pace.limit(15))


def test_a_revoked_certificate_opens_no_bastion(hosts: Hosts, qhs: Run, operator: Visitor) -> None:
    assert operator.says("operators", "ndc-app1", "true", bastion=FAR).returncode == 0
    assert qhs("pki", "revoke", str(operator.key.with_name("nguyen-van-a-cert.pub"))).returncode == 0
    start = since()
    assert operator.says("operators", "ndc-app1", "true", bastion=FAR).returncode == 255
    assert "revoked" in journal(hosts, FAR, start)


@pytest.fixture
def full(hosts: Hosts) -> Iterator[str]:
    """The bastion of ndc with a small disk of its own for recordings, and nothing left on it."""
    hosts.say(
        f"mount -t tmpfs -o size=32m,mode=0700 full {RECORDINGS} && head -c 31M /dev/zero >{RECORDINGS}/fill", [FAR]
    )
    yield FAR
    hosts.say(f"umount --lazy {RECORDINGS}", [FAR])


def test_on_a_full_disk_no_session_begins_and_one_that_runs_ends(hosts: Hosts, operator: Visitor, full: str) -> None:
    refused = operator.says("operators", "-tt", "ndc-app1", bastion=full)
    assert refused.returncode == 1
    assert "no session can be recorded, so there is none: found" in refused.stdout
    hosts.say(f"truncate --size=15M {RECORDINGS}/fill", [full])
    flood = "head -c 40M /dev/urandom | base64; echo still-here\nexit\n"
    ended = operator.says("operators", "-tt", "ndc-app1", typed=flood, bastion=full)
    assert ended.returncode != 0
    assert "No space left on device" in ended.stdout + ended.stderr
    assert "still-here\r" not in ended.stdout


def test_nobody_but_a_bastion_of_its_site_reaches_ssh_of_a_machine(twin: Twin, second_up: WatchedUp) -> None:
    """By packets, from every machine and every client, to every address of every machine. Users reach the bastions."""
    whole = topology(ESTATE)
    addresses = {str(own.ip): machine.name for machine in whole.managed for _, own in machine.interfaces()}
    spaces = {name: Path(f"/proc/{boot.group(twin, name).init()}/ns/net") for name in ESTATE.machines}
    spaces |= {client.name: twin.netns_path(client.name) for client in whole.clients}

    def reached(name: str) -> set[str]:
        found = inside.call(spaces[name], lambda: reach.connected(addresses))
        return {addresses[one] for one in found} - {name}

    bastions = {name for name, one in ESTATE.machines.items() if BASTION_ROLE in one.roles}
    wanted = {name: {one for one, it in ESTATE.machines.items() if it.site == site_of(name)} for name in bastions}
    wanted = {name: found - {name} for name, found in wanted.items()} | {CLIENT: bastions}
    with ThreadPoolExecutor(len(spaces)) as pool:
        found = dict(zip(spaces, pool.map(reached, spaces), strict=True))
    assert {name: more for name in spaces if (more := found[name] - wanted.get(name, set()))} == {}
    for name, ways in wanted.items():
        # What a busy machine's tunnel has lost for some seconds is there a while later.
        await_(lambda name=name, ways=ways: ways <= found[name] or ways <= reached(name))


def site_of(machine: str) -> str:
    return ESTATE.machines[machine].site


def test_automation_is_on_record_by_command(hosts: Hosts, twin: Twin, qhs: Run, second_up: WatchedUp) -> None:
    start = since()
    argv = ["ssh", "-F", str(access.config(twin)), DATABASE]
    assert inside.run(twin, [*argv, "echo seen-by-automation; exit 3"]).returncode == 3
    assert inside.run(twin, [*argv, "sudo -n true"]).returncode == 0
    asked = ["ssh", "-F", str(ruleset_access.write(twin)), "-o", "LogLevel=ERROR", DATABASE, "read"]
    assert inside.run(twin, asked).returncode == 0
    hosts.say("echo >>/etc/resolv.conf", [DATABASE])
    done = qhs("shell", "--", "ansible-playbook", "scripts/playbooks/site.yml", "--limit", DATABASE)
    assert done.returncode == 0, done.stdout
    said = journal(hosts, DATABASE, start)
    assert "echo seen-by-automation; exit 3" in said
    assert re.search(r"Accepted publickey for qhs .* ID qhs qhs \(serial \d+\)", said)
    assert re.search(r"qhs : .*COMMAND=/usr/bin/true", said)
    assert "'read': done" in said
    assert re.search("Accepted publickey for qhs-ruleset ", said)
    assert "role base wrote /etc/resolv.conf" in said
