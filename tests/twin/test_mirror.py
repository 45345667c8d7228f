"""Machines install what their own site serves, and nothing that is not as it was signed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from qhs.inventory import nearest
from stacks.model import load
from tests.twin.hosts import Hosts

pytestmark = pytest.mark.live

SERVED = "/srv/qhs-packages"
MIRROR = "qhdc-infra1"
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


ALTER = {
    "index": "sed -i 's/^Package: nginx$/Package: nginy/' Packages",
    # An index that the release names, in a release that nobody signed.
    "release": "was=$(sha256sum <Packages) && sed -i 's/^Package: nginx$/Package: nginy/' Packages && "
    'sed -i "s/${was%% *}/$(sha256sum <Packages | cut -d" " -f1)/" InRelease',
}
REFUSED = {"index": "Hash Sum mismatch", "release": "not signed"}


@pytest.fixture(params=ALTER)
def altered(request: pytest.FixtureRequest, hosts: Hosts) -> Iterator[str]:
    """What of a mirror says something else than was signed."""
    what: str = request.param
    hosts.say(f"cd {SERVED} && cp --preserve Packages InRelease /run && {ALTER[what]}", [MIRROR])
    yield what
    hosts.say(f"mv /run/Packages /run/InRelease {SERVED}", [MIRROR])


def test_an_altered_repository_is_refused(hosts: Hosts, altered: str) -> None:
    asked = ASKED[0]
    said = hosts.say("rm -rf /var/lib/apt/lists/*; apt-get update 2>&1 || echo refused", [asked])[asked]
    assert said.splitlines()[-1] == "refused", said
    assert REFUSED[altered] in said, said
    assert hosts.say("apt-cache policy nginy", [asked])[asked] == ""
