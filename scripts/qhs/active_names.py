"""The names that follow the lease: Ansible's variables of who answers them, and where they lead now."""

from __future__ import annotations

from typing import Any

from qhs import names_access
from qhs.twin.asking import ask
from qhs.twin.names import Twin
from stacks.model import Estate, lease, service_names
from stacks.model.estate import Machine

RESOLVER = "names"
ASKS = """
import subprocess, sys
resolver, name = sys.argv[1:]
asked = ["kdig", f"@{resolver}", "+short", "+retry=0", "+timeout=4", name, "A"]
said = subprocess.run(asked, capture_output=True, text=True).stdout.split()
print(said[-1] if said and said[-1][0].isdigit() else "", end="")
"""
"""The last line is the address that an alias comes to; where there is none, it is the alias or what went wrong."""


def authorities(estate: Estate) -> dict[str, list[str]]:
    """The machines that answer for the service domain while their site has the lease, each with its addresses."""
    sites = service_names.sites(estate)
    return dict(one for site, one in names_access.authorities(estate).items() if site in sites)


def variables(estate: Estate, machine: Machine) -> dict[str, Any]:
    """Of a machine that is one of them."""
    if machine.name not in (found := authorities(estate)):
        return {}
    return {
        "active_names_domain": service_names.domain(estate),
        "active_names_labels": service_names.labels(estate),
        "active_names_seconds": lease.READ_ONLY_AFTER,
        "active_names_ttl": service_names.TTL,
        "active_names_authority": {"name": names_access.known_as(machine.name), "address": found[machine.name][0]},
    }


def where(twin: Twin, estate: Estate, name: str) -> dict[str, str]:
    """By site the IPv4 address that its resolver answers for a name now; empty where it answers none, or not at all."""
    held = {
        machine: one.targets[0].texts()[0]
        for machine in estate.machines.values()
        for one in machine.services
        if one.service == RESOLVER
    }
    answers = ask(twin, ASKS, {machine.name: [address, name] for machine, address in held.items()})
    return {machine.site: answers[machine.name].said for machine in held}
