"""The tunnels of all firewalls fit each other, as their configuration is rendered."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from itertools import combinations
from pathlib import Path
from typing import Any

import jinja2
import pytest

from qhs.inventory import inventory
from stacks.model import load

TEMPLATES = Path(__file__).parents[2] / "roles" / "wan" / "templates" / "etc" / "swanctl"
PAIRS = list(combinations(("qhdc", "ndc", "hall"), 2))
CARRIERS = ("carrier-a", "carrier-b")


@pytest.fixture(scope="module", params=["twin", "prod"])
def firewalls(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """The variables of every firewall."""
    estate = load(request.param)
    variables = inventory(estate)["_meta"]["hostvars"]
    return {name: variables[name] for site in estate.inventory.sites for name in estate.firewalls(site)}


def sections(name: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The connections of a rendered swanctl file, each with its settings, as deep as they are."""
    loader = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, autoescape=True)
    top: dict[str, Any] = {}
    stack = [top]
    for line in map(str.strip, loader.from_string((TEMPLATES / name).read_text()).render(variables).splitlines()):
        if line.endswith("{"):
            title, _, like = line.removesuffix("{").partition(":")
            stack.append(stack[-1].setdefault(title.strip(), {"like": like.strip()}))
        elif line == "}":
            stack.pop()
        elif "=" in line:
            key, _, value = line.partition(" = ")
            stack[-1][key] = value
    assert stack == [top]
    return {key: one for key, one in top["connections"].items() if key != "like"}


def inside(tunnel: dict[str, Any]) -> list[dict[str, str]]:
    """What passes in a tunnel."""
    return [one for key, one in tunnel["children"].items() if key != "like"]


def test_each_two_sites_have_one_tunnel_a_carrier_which_one_of_them_starts(
    firewalls: dict[str, dict[str, Any]],
) -> None:
    held = {one["qhs_site"]: sections("pair.conf.j2", one) for one in firewalls.values()}
    assert {len(found) for found in held.values()} == {len(CARRIERS) * 2 * 2}
    for one, other in PAIRS:
        for carrier in CARRIERS:
            here, there = held[one][f"pair-{other}-{carrier}"], held[other][f"pair-{one}-{carrier}"]
            assert here["local_addrs"] == there["remote_addrs"]
            assert there["local_addrs"] == here["remote_addrs"]
            (near,), (far,) = inside(here), inside(there)
            assert (near["local_ts"], near["remote_ts"]) == (far["remote_ts"], far["local_ts"])
            assert sorted([near["like"], far["like"]]) == ["esp", "esp, started"]


def test_both_members_of_a_pair_have_the_same_tunnels_to_take_over(firewalls: dict[str, dict[str, Any]]) -> None:
    by_site: dict[str, list[dict[str, Any]]] = {}
    for one in firewalls.values():
        by_site.setdefault(one["qhs_site"], []).append(sections("pair.conf.j2", one))
    assert all(first == second for first, second in by_site.values())


def test_a_members_own_tunnels_end_where_the_other_pair_awaits_them(firewalls: dict[str, dict[str, Any]]) -> None:
    identities = {one["qhs_site"]: one["wan_identity"] for one in firewalls.values()}
    held = {one["qhs_site"]: sections("pair.conf.j2", one) for one in firewalls.values()}
    for one in firewalls.values():
        own = sections("swanctl.conf.j2", one)
        assert own.keys() == {
            f"own-{site}-{carrier}" for site in identities.keys() - {one["qhs_site"]} for carrier in CARRIERS
        }
        for name, tunnel in own.items():
            site, carrier = name.split("-", 2)[1:]
            awaited = held[site][f"members-{one['qhs_site']}-{carrier}"]
            assert tunnel["remote_addrs"] == awaited["local_addrs"]
            assert ip_address(tunnel["local_addrs"]) in ip_network(awaited["remote_addrs"])
            assert tunnel["remote"]["id"] == identities[site]
            assert awaited["remote"]["id"] == one["wan_identity"]
            (near,), (far,) = (inside(it) for it in (tunnel, awaited))
            assert (near["like"], far["like"]) == ("esp, started", "esp")
            assert near["remote_ts"] == far["local_ts"]
            own, others = (map(ip_network, it.split(", ")) for it in (near["local_ts"], far["remote_ts"]))
            assert all(mine.subnet_of(theirs) for mine, theirs in zip(own, others, strict=True))  # type: ignore[arg-type]  # of one family


def test_the_pairs_name_is_in_the_certificates_of_its_members_alone(firewalls: dict[str, dict[str, Any]]) -> None:
    for one in firewalls.values():
        named = [name for name, other in firewalls.items() if one["wan_identity"] in other["pki_names"]]
        assert named == list(one["qhs_pair"])
