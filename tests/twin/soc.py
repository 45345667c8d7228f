"""What the operations centres have heard."""

from __future__ import annotations

import shlex

from tests.twin.hosts import Hosts

STORES = ("qhdc-soc1", "ndc-soc1")
WITHIN = 30
"""Seconds from an attack until both centres have it."""


def heard(hosts: Hosts, machine: str, tag: str, *texts: str) -> bool:
    """Whether both stores have a line of a machine under a tag that has all of these texts in it."""
    pattern = f"^<[0-9]+>1 [^ ]+ {machine} {tag} "
    filters = "".join(f" | grep -F -e {shlex.quote(text)}" for text in texts)
    said = hosts.say(f"grep -h -E {shlex.quote(pattern)} /var/log/qhs/*/*.log{filters} | tail -n 1", STORES)
    return all(said.values())
