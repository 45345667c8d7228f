"""Names as resources on a live twin: drift by hand is seen, and a name that moves is followed by every site."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

import pytest

from qhs import names_access, ruleset_access
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import load
from stacks.provider.record.handler import RecordHandler
from stacks.provider.record.link import AUTHORITY, USER
from stacks.provider.settings import Settings
from tests.pace import Pace
from tests.twin.conftest import MEASURED, Run, WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

ESTATE = load("twin")
SITES = ESTATE.active_sites
RESOLVERS = {one.site: one for one in ESTATE.machines.values() if any(held.service == "names" for held in one.services)}
STACK, MACHINE = "twin.hall.network", "hall-infra1"
NAME = f"time.{ESTATE.domain('hall')}"
TTL = 5


def asked(name: str, site: str) -> str:
    """The command that asks a site's resolver."""
    (address,) = (one.targets[0].texts()[0] for one in RESOLVERS[site].services if one.service == "names")
    return f"kdig @{address} +short {name} A"


def test_what_was_changed_by_hand_is_seen_and_put_right(qhs: Run, hosts: Hosts, second_up: WatchedUp) -> None:
    key = "sed -n 's/ *secret: /key hmac-sha256:qhs-update /p' /etc/knot/keys.conf"
    change = f"update delete {NAME}. A\\nupdate add {NAME}. 60 A 192.0.2.66"
    lines = f"server {AUTHORITY.replace(':', ' ')}\\nzone {ESTATE.domain('hall')}\\n{change}\\nsend\\n"
    ask = f"kdig @{AUTHORITY.partition(':')[0]} +short {NAME} A"
    (wanted,) = (one.targets[0].texts()[0] for one in ESTATE.served("hall") if one.service == "time")
    assert hosts.say(ask, [MACHINE])[MACHINE] == wanted
    assert hosts.say(f"({key}; printf '{lines}') | knsupdate; {ask}", [MACHINE])[MACHINE] == "192.0.2.66"
    seen = qhs("shell", "--", "pulumi", "preview", "-s", STACK, "--refresh", "--diff")
    assert "1 to update" in seen.stdout, seen.stdout[-3000:]
    assert "192.0.2.66" in seen.stdout
    assert qhs("shell", "--", "pulumi", "up", "-s", STACK, "--refresh", "--yes").returncode == 0
    assert hosts.say(ask, [MACHINE])[MACHINE] == wanted


@pytest.fixture
def names(twin: Twin, second_up: WatchedUp) -> Callable[[str], None]:
    """Writes a test record of each site through the plugin's own handler."""
    handler = RecordHandler(Settings(ruleset_access.write(twin), names_access.write(twin, ESTATE)))

    def given(site: str, address: str) -> dict[str, object]:
        domain = ESTATE.domain(site)
        about = {"owner": "vpqh-cntt", "level": 4, "serves": ["S-025"]}
        return {"name": f"thu.{domain}", "domain": domain, "ttl": TTL, "addresses": [address], **about}

    def write(address: str) -> None:
        for site in SITES:
            urn = f"urn:pulumi:twin.{site}.network::qhs::qhs:dns:Record::thu"
            do = handler.write if address else handler.remove
            inside.call(twin.netns_path(), lambda s=site, u=urn, d=do: d(u, given(s, address or "192.0.2.1")))

    return write


def test_a_name_that_moves_is_followed_by_every_site(names: Callable[[str], None], hosts: Hosts) -> None:
    """T-B16 for a record a site: at TTL + 30 s none of 100 clients is sent to the old address."""
    command = {site: "; ".join(asked(f"thu.{ESTATE.domain(other)}", site) for other in SITES) for site in SITES}

    def told() -> set[str]:
        said = {site: hosts.say(command[site], [RESOLVERS[site].name]) for site in SITES}
        answers = [line for one in said.values() for text in one.values() for line in text.split("\n")]
        return set(answers) if len(answers) == len(SITES) ** 2 else {""}

    try:
        names("192.0.2.1")
        await_(lambda: told() == {"192.0.2.1"})
        names("192.0.2.2")
        pace, began = Pace(), time.monotonic()
        await_(lambda: told() == {"192.0.2.2"}, TTL + 30)
        took = time.monotonic() - began
        assert took < pace.limit(TTL + 30)
        MEASURED.append(f"a name that moves (TTL {TTL} s): every site's resolver follows within {took:.1f} s")
        clients = {RESOLVERS[site].name: f"for client in $(seq 12); do {command[site]}; done" for site in SITES}
        answers = [line for name, each in clients.items() for line in hosts.say(each, [name])[name].split("\n")]
        assert len(answers) >= 100
        assert set(answers) == {"192.0.2.2"}
    finally:
        names("")


def test_the_plugins_way_in_leads_to_the_authority_and_nowhere_else(twin: Twin, second_up: WatchedUp) -> None:
    common = ["ssh", "-F", str(ruleset_access.write(twin)), "-o", "LogLevel=INFO", "-l", USER]

    def come(*words: str) -> str:
        command = inside.command(twin, [*common, *words])
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert come("-W", AUTHORITY, MACHINE) == ""
    assert "administratively prohibited" in come("-W", "127.0.0.1:22", MACHINE)
    assert "uid=" not in come(MACHINE, "id")
    assert "Too many authentication failures" in come("-W", AUTHORITY, "hall-fw1")
