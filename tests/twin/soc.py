"""What the operations centres have heard."""

from __future__ import annotations

import shlex

import pytest

from tests.twin.hosts import Hosts
from tests.twin.waiting import await_

STORES = ("qhdc-soc1", "ndc-soc1")
WITHIN = 30
"""Seconds from an attack until both centres have it."""


def heard(hosts: Hosts, machine: str, tag: str, *texts: str) -> bool:
    """Whether both stores have a line of a machine under a tag that has all of these texts in it."""
    pattern = f"^<[0-9]+>1 [^ ]+ {machine} {tag} "
    filters = "".join(f" | grep -F -e {shlex.quote(text)}" for text in texts)
    said = hosts.say(f"grep -h -E {shlex.quote(pattern)} /var/log/qhs/*/*.log{filters} | tail -n 1", STORES)
    return all(said.values())


def hear(hosts: Hosts, machine: str, tag: str, *texts: str) -> None:
    """Wait until it is so. Fails with the last lines under the tag, at the stores and at the machine itself."""
    try:
        await_(lambda: heard(hosts, machine, tag, *texts), WITHIN)
    except AssertionError:
        last = f"grep -h -F ' {machine} {tag} ' /var/log/qhs/*/*.log | tail -n 8"
        there = hosts.say(last, STORES) | hosts.say(f"journalctl -t {tag} -n 8 --no-pager", [machine])
        pytest.fail(f"{machine} {tag}: no line with {texts}; the last ones: {there}")
