"""Every machine's logs are at two sites, also after a store was away or full, and nobody alters them unseen."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from uuid import uuid4

import pytest

from qhs.inventory import inventory
from qhs.twin import outage
from qhs.twin.names import Twin
from stacks.model import load
from tests.twin.hosts import Hosts
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

VARIABLES = inventory(load("twin"))["_meta"]["hostvars"]
STORES = ("qhdc-soc1", "ndc-soc1")
MACHINE, STORE, OTHER = "qhdc-db1", *STORES
LINES = 2000
RESENT = 64
"""Lines that a sender has on their way at once: as many may come twice, where a store goes away in between."""


def write(hosts: Hosts, machine: str, count: int = LINES) -> str:
    """Have a machine log numbered lines under a name of their own."""
    name = f"test-{uuid4().hex[:12]}"
    hosts.say(f"seq {count} | sed s/^/number=/ | logger --tag {name}", [machine])
    return name


def lines(hosts: Hosts, store: str, name: str) -> list[str]:
    """The lines under a name that a store has; not those in which sudo tells of the command."""
    return hosts.say(f"grep -h -E ' {name} [0-9-]+ - - ' /var/log/qhs/*/*.log || true", [store])[store].splitlines()


def numbers(hosts: Hosts, store: str, name: str) -> Counter[str]:
    """Which numbers a store has, and how often."""
    return Counter(re.findall(rf" {name} .*number=(\d+)$", "\n".join(lines(hosts, store, name)), re.MULTILINE))


def has_all(hosts: Hosts, store: str, name: str, count: int = LINES) -> bool:
    return len(numbers(hosts, store, name)) == count


@pytest.mark.parametrize("machine", ["qhdc-app1", "hall-fw1", "ndc-fw2", "hall-infra1", "qhdc-soc1"])
def test_a_line_is_at_two_sites_within_seconds(hosts: Hosts, machine: str) -> None:
    """With its facility, and its time to the microsecond."""
    name = f"test-{uuid4().hex[:12]}"
    hosts.say(f"logger --priority local3.warning --tag {name} hello", [machine])
    await_(lambda: all(lines(hosts, store, name) for store in STORES), 15)
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00"
    for store in STORES:
        (line,) = lines(hosts, store, name)
        assert re.fullmatch(rf"<156>1 {moment} {machine} {name} \S+ - - +hello", line)


def test_the_store_of_a_site_is_away_and_no_line_is_missing(twin: Twin, hosts: Hosts) -> None:
    """Meanwhile the machine goes on, and so does the other store."""
    outage.power_off(twin, STORE)
    try:
        name = write(hosts, MACHINE)
        await_(lambda: has_all(hosts, OTHER, name), 30)
    finally:
        outage.power_on(twin, STORE)
    hosts.say("systemctl is-system-running --wait", [STORE])
    await_(lambda: has_all(hosts, STORE, name), 90)
    for store in STORES:
        assert numbers(hosts, store, name).total() - LINES <= RESENT, store


@pytest.fixture
def small_disk(hosts: Hosts) -> Iterator[str]:
    """A store whose logs lie on a disk of one megabyte, and are not sealed meanwhile."""
    mount = "mount -t tmpfs -o size=1m,mode=0750,uid=qhs-logs,gid=qhs-soc tmpfs /var/log/qhs"
    hosts.say(f"systemctl stop qhs-logs-seal.timer qhs-logs; {mount}; systemctl start qhs-logs", [STORE])
    yield STORE
    hosts.say("systemctl stop qhs-logs; umount /var/log/qhs; systemctl start qhs-logs qhs-logs-seal.timer", [STORE])


def test_a_full_disk_heals_and_no_line_is_missing(hosts: Hosts, small_disk: str) -> None:
    """What a store cannot write it does not acknowledge, so the sender keeps it."""
    hosts.say("head -c 2M /dev/zero >/var/log/qhs/fill || true", [small_disk])
    name = write(hosts, MACHINE)
    await_(lambda: has_all(hosts, OTHER, name), 30)
    assert not has_all(hosts, small_disk, name)
    hosts.say("rm /var/log/qhs/fill; mount -o remount,size=64m /var/log/qhs", [small_disk])
    await_(lambda: has_all(hosts, small_disk, name), 90)


def test_what_was_altered_after_its_seal_is_found(hosts: Hosts) -> None:
    name = write(hosts, MACHINE, 3)
    await_(lambda: has_all(hosts, STORE, name, 3))
    hosts.say("systemctl start qhs-logs-seal && qhs-logs verify", [STORE])
    file = hosts.say(f"grep -l -E ' {name} [0-9-]+ - - ' /var/log/qhs/*/*.log", [STORE])[STORE]
    try:
        said = hosts.say(f"{overwrite(file, name, 2, 7)}; qhs-logs verify; echo code=$?", [STORE])[STORE]
    finally:
        hosts.say(overwrite(file, name, 7, 2), [STORE])
    assert re.search(rf"{file.removeprefix('/var/log/qhs/')}: altered between bytes \d+ and \d+\ncode=2", said)
    assert "are as they were sealed" in hosts.say("qhs-logs verify", [STORE])[STORE]


def overwrite(file: str, name: str, old: int, new: int) -> str:
    """One digit, in its place: lines may come meanwhile."""
    return shlex.join(
        [
            "python3",
            "-c",
            "import re, sys; path, pattern, new = sys.argv[1:]; file = open(path, 'r+b');"
            "file.seek(re.search(pattern.encode(), file.read(), re.M).end() - 1); file.write(new.encode())",
            file,
            f" {name} .*number={old}$",
            str(new),
        ]
    )


def test_only_the_operations_centre_reads_logs_and_nobody_writes_seals(hosts: Hosts) -> None:
    for said in hosts.say("stat -c %a:%U:%G /var/log/qhs /var/log/qhs/* /var/log/qhs/*/*", STORES).values():
        assert set(said.split()) == {"750:qhs-logs:qhs-soc", "640:qhs-logs:qhs-soc"}
    for said in hosts.say("stat -c %a:%U:%G /var/lib/qhs-logs/chain /var/lib/qhs-logs/chain/*", STORES).values():
        assert set(said.split()) == {"750:root:qhs-soc", "640:root:qhs-soc"}


def test_who_shows_no_certificate_of_the_estate_is_refused(hosts: Hosts) -> None:
    address = VARIABLES[STORE]["log_store_addresses"][0]
    connect = f"(sleep 2; echo; sleep 5) | openssl s_client -connect {address}:6514 -CAfile /etc/qhs/tls/ca.crt"
    own = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout k -out c 2>/dev/null"
    )
    alien = f"cd $(mktemp -d); {own}; {connect} -cert c -key k"
    for command, why in ((connect, "certificate required"), (alien, "unknown ca")):
        assert why in hosts.say(f"({command}) 2>&1 || true", [MACHINE])[MACHINE], command
    mine = "-cert /etc/qhs/tls/machine.crt -cert_chain /etc/qhs/tls/machine.crt -key /etc/qhs/tls/machine.key"
    said = hosts.say(f"{connect} {mine} 2>&1 || true", [MACHINE])[MACHINE]
    assert "Verify return code: 0" in said
    assert "alert" not in said


def test_a_renewed_certificate_is_shown_by_the_store_and_a_sender_goes_on(hosts: Hosts) -> None:
    """The store starts anew; a sender does not."""
    main = "systemctl show --value -p MainPID rsyslog"
    before = hosts.say(main, [MACHINE])[MACHINE]
    hosts.say("qhs-pki renew --now", [MACHINE, STORE])
    serial = "openssl x509 -noout -serial"
    address = VARIABLES[STORE]["log_store_addresses"][0]
    shown = f"openssl s_client -connect {address}:6514 </dev/null 2>/dev/null | {serial}"
    await_(lambda: hosts.say(f"{shown}; {serial} -in /etc/qhs/tls/machine.crt", [STORE])[STORE].count("serial=") == 2)
    own, told = hosts.say(f"{shown}; {serial} -in /etc/qhs/tls/machine.crt", [STORE])[STORE].split()
    assert own == told
    name = write(hosts, MACHINE, 3)
    await_(lambda: has_all(hosts, STORE, name, 3))
    assert hosts.say(main, [MACHINE])[MACHINE] == before
