"""Machines install what their own site serves, and nothing that is not as it was signed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from qhs.inventory import nearest
from stacks.model import load
from tests.twin.hosts import Hosts

pytestmark = pytest.mark.live

SERVED = "/srv/qhs-packages/Packages"
# One machine of each way to the packages: through the firewalls, on the same machine, from a firewall, at the hall.
ASKED = ("qhdc-app1", "qhdc-infra1", "ndc-fw1", "hall-infra1")


def test_a_machine_updates_and_downloads_from_its_own_site(hosts: Hosts) -> None:
    estate = load("twin")
    fetch = "cd $(mktemp -d) && apt-get -qq update && apt-get -qq -oAPT::Sandbox::User=root download nginx && ls"
    for name, said in hosts.say(f"{fetch}; apt-cache policy", ASKED).items():
        assert said.startswith("nginx_"), f"{name}: {said}"
        own = nearest(estate, estate.machines[name].site, "packages")[0]
        sources = {line.split()[1] for line in said.splitlines() if " https://" in line}
        assert sources == {f"https://{own}"}, name
        assert "o=qhs" in said, name


def test_unattended_upgrades_would_take_what_the_site_has(hosts: Hosts) -> None:
    for name, said in hosts.say("apt-get -qq update && unattended-upgrade --dry-run --verbose 2>&1", ASKED).items():
        assert "Allowed origins are: origin=qhs" in said, name
        assert "No packages found that can be upgraded unattended" in said, f"{name}: {said}"


@pytest.fixture
def altered(hosts: Hosts) -> Iterator[str]:
    """A mirror whose index says something else than was signed."""
    name = "qhdc-infra1"
    hosts.say(f"cp --preserve {SERVED} {SERVED}.kept && sed -i 's/^Package: nginx$/Package: nginy/' {SERVED}", [name])
    yield name
    hosts.say(f"mv {SERVED}.kept {SERVED}", [name])


def test_an_altered_repository_is_refused(hosts: Hosts, altered: str) -> None:
    said = hosts.say("rm -rf /var/lib/apt/lists/* && apt-get update 2>&1 || echo refused", ["qhdc-app1"])["qhdc-app1"]
    assert said.splitlines()[-1] == "refused", said
    assert "Hash Sum mismatch" in said or "unexpected size" in said, said
