"""Each site resolves the names of the estate by itself, and nobody asks outside."""

from __future__ import annotations

import pytest

from qhs.inventory import records
from stacks.model import load
from stacks.model.estate import Machine
from stacks.model.ingress import ways_in
from stacks.provider.record.link import AUTHORITY
from tests.twin.hosts import Hosts
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

ESTATE = load("twin")
DOMAIN = ESTATE.inventory.domain
UPDATES = AUTHORITY.partition(":")[0]
NAMES = [one for one in ESTATE.machines.values() if any(held.service == "names" for held in one.services)]


def held(machine: Machine, service: str) -> list[str]:
    """The addresses on which a machine holds a service."""
    return next(one.targets[0].texts() for one in machine.services if one.service == service)


def test_every_machine_finds_machines_of_each_site(hosts: Hosts) -> None:
    """By the way that programs take: the machine's own resolv.conf, in both families."""
    known = records(ESTATE)
    asked = [f"{site}-infra1" for site in ESTATE.inventory.sites]
    command = "; ".join(f"getent ahostsv4 {one}; getent ahostsv6 {one}.{DOMAIN}" for one in asked)
    wanted = {address for one in asked for address in known[one]}
    found = {name: {line.split()[0] for line in said.splitlines()} for name, said in hosts.say(command).items()}
    loopback = {"127.0.1.1", "::ffff:127.0.1.1", "::1"}
    for name, addresses in found.items():
        own = set(known[name]) if name in asked else set()
        assert wanted - own <= addresses <= wanted | loopback, name


@pytest.mark.parametrize("machine", NAMES, ids=lambda machine: machine.site)
def test_a_site_knows_every_name_of_the_estate(hosts: Hosts, machine: Machine) -> None:
    """A and AAAA of all machines, services and applications of every site, from this site's own authority alone."""
    known = {f"{name}.{DOMAIN}": addresses for name, addresses in records(ESTATE).items()}
    for site in ESTATE.active_sites:
        served = ESTATE.served(site)
        known |= {f"{one.service}.{ESTATE.domain(site)}": one.targets[0].texts() for one in served}
        for way in ways_in(ESTATE, site).values():
            known |= dict.fromkeys((one.name for one in way.published), way.address.texts())
    queries = " ".join(f"{name} A {name} AAAA" for name in known)
    command = f"kdig @{held(machine, 'names')[0]} +short {queries}"
    wanted = [address for addresses in known.values() for address in addresses]
    # The other sites' come when their authorities say that there is something new.
    await_(lambda: hosts.say(command, [machine.name])[machine.name].split() == wanted)


def test_with_the_resolver_of_its_site_gone_a_machine_asks_the_next(hosts: Hosts) -> None:
    gone, other = NAMES[0], f"{NAMES[1].site}-infra1"
    asker = next(one.name for one in ESTATE.machines.values() if one.site == gone.site and one != gone and one.services)
    hosts.say("systemctl stop unbound.service knot.service", [gone.name])
    try:
        said = hosts.say(f"timeout 5 getent ahostsv4 {other}.{DOMAIN}", [asker])[asker]
    finally:
        hosts.say("systemctl start knot.service unbound.service", [gone.name])
    assert said.split()[0] == records(ESTATE)[other][0]


def test_nobody_outside_is_asked(hosts: Hosts) -> None:
    """An outside name is refused; whoever a resolver has ever asked is an authority of the estate."""
    authorities = {address for one in NAMES for address in held(one, "names-primary")}
    for machine in NAMES:
        ask = f"kdig @{held(machine, 'names')[0]}"
        outside = f"{ask} debian.org | grep -o 'status: [A-Z]*'"
        command = f"{ask} unknown.{DOMAIN} >/dev/null; {outside}; unbound-control dump_infra"
        status, *servers = hosts.say(command, [machine.name])[machine.name].splitlines()
        assert status == "status: REFUSED"
        assert servers, "it has asked nobody at all"
        assert {line.split()[0] for line in servers} <= authorities


def test_the_domain_of_a_site_takes_signed_updates_alone_and_keeps_them(hosts: Hosts) -> None:
    machine = NAMES[0]
    domain, authority = ESTATE.domain(machine.site), held(machine, "names-primary")[0]
    name = f"thu.{domain}"

    def update(change: str, key: str, at: str = UPDATES) -> str:
        lines = f"server {at}\\nzone {domain}\\nupdate {change}\\nsend\\n"
        return f"({key}; printf '{lines}') | knsupdate >/dev/null 2>&1"

    signed = "sed -n 's/ *secret: /key hmac-sha256:qhs-update /p' /etc/knot/keys.conf"
    ask = f"kdig @{authority} +short {name} A"
    add = f"add {name}. 5 A 192.0.2.1"
    said = hosts.say(
        f"{update(add, ':')} && echo taken; {update(add, signed, authority)} && echo from elsewhere; "
        f"{ask}; echo then; {update(add, signed)}; {ask}",
        [machine.name],
    )
    assert said[machine.name].split() == ["then", "192.0.2.1"]
    kept = hosts.say(
        f"systemctl restart knot.service; {ask}; {update(f'delete {name}.', signed)}; {ask}", [machine.name]
    )
    assert kept[machine.name].split() == ["192.0.2.1"]
