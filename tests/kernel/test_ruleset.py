"""Our rendering and reading of rulesets, proven by the kernel in a network namespace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from stacks.model.load import load
from stacks.model.rules import Rule, Ruleset, rulesets
from stacks.provider.ruleset.listing import UNNAMED, parse
from stacks.provider.ruleset.nft import Flow, OddRule, Table, normal, render

ESTATE = load("twin")
RULESETS = [one for site in ESTATE.active_sites for one in rulesets(ESTATE, site)]
GUARDS = RULESETS[0].guards
EXPIRES = datetime(2027, 6, 30, 17, 30, 1, tzinfo=UTC)
WEB = Rule("forward", iif="a", oif="b", family="ip", sources=("10.1.0.0/16",), destinations=("10.2.0.1",))
FLOWS = {
    "expiring": Flow((replace(WEB, protocol="tcp", ports=("443",)),), expires=EXPIRES),
    "staged": Flow((replace(WEB, protocol="udp", ports=("53",)),), staged=True),
    "both": Flow((replace(WEB, protocol="udp", ports=("123",)),), expires=EXPIRES, staged=True),
    "ending": Flow(
        (
            Rule("input", iif="a", family="ip", protocol="tcp", ports=("443", "5000-5100")),
            Rule("output", oif="b", family="ip6", sources=("fd51::/64", "fd52::1/128"), protocol="udp", ports=("53",)),
            Rule("forward", iif="a", oif="b", protocol="icmp", icmp_types=("echo-request",)),
            replace(WEB, family="ip6", sources=("fd51::/64",), destinations=(), protocol="icmpv6"),
            replace(WEB, sources=("10.0.0.0/24", "10.0.1.0/24", "10.9.0.1"), protocol="esp"),
            Rule("output", protocol="icmpv6", icmp_types=("nd-neighbor-solicit",)),
        ),
        expires=EXPIRES,
    ),
    "touching": Flow(
        (
            replace(
                WEB, sources=("10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24", "10.9.0.1"), protocol="tcp", ports=("80-90",)
            ),
            replace(WEB, protocol="tcp", ports=("81", "80", "5000-5100", "5101")),
            replace(WEB, family="ip6", sources=("fd51::/64", "fd51:0:0:1::/64"), destinations=()),
        )
    ),
    "broad": Flow(
        (
            Rule("forward", iif="a", family="ip"),
            Rule("output", family="ip6", protocol="tcp", ports=("22",)),
            Rule("input", protocol="icmp", icmp_types=("echo-request", "echo-reply")),
            Rule("input", protocol="icmpv6"),
            Rule("input", protocol="esp"),
            Rule("input", states=("new", "untracked")),
            Rule("forward", verdict="drop", family="ip", sources=("0.0.0.0/0",)),
        )
    ),
}


def kernel(text: str, *, by_hand: str = "", zone: str = "UTC") -> Any:
    """What a kernel shows once it has the text, and after a command of nft that somebody ran by hand."""
    steps = 'nft -f - && for one in "$@"; do nft $one || exit; done && TZ=UTC nft -j list table inet qhs'
    arguments = [by_hand] if by_hand else []
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", steps, "sh", *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TZ": zone},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def seen(by_hand: str) -> Table:
    return parse(kernel(render(GUARDS, FLOWS), by_hand=by_hand))


@pytest.mark.parametrize("one", RULESETS, ids=lambda one: one.target)
def test_kernel_shows_what_was_rendered(one: Ruleset) -> None:
    assert parse(kernel(render(one.guards, one.flows))) == normal(one.guards, one.flows)


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Ho_Chi_Minh"])
def test_kernel_shows_every_form_of_rule_in_any_time_zone(name: str, zone: str) -> None:
    flows = {name: FLOWS[name]}
    assert parse(kernel(render(GUARDS, flows), zone=zone)) == normal(GUARDS, flows)


def test_normal_form_is_its_own_normal_form() -> None:
    once = normal(GUARDS, FLOWS)
    assert normal(once.guards, once.flows) == once


WANTED = normal(GUARDS, FLOWS)


def test_rule_added_by_hand_is_seen() -> None:
    table = seen("add rule inet qhs forward tcp dport 23 accept")
    assert table.flows[UNNAMED].rules == (OddRule("forward", protocol="tcp", ports=("23",), raw="no counter"),)
    assert {name: table.flows[name] for name in FLOWS} == WANTED.flows


def test_rule_removed_by_hand_is_seen() -> None:
    listing = kernel(render(GUARDS, FLOWS))
    handle = next(
        one["rule"]["handle"] for one in listing["nftables"] if one.get("rule", {}).get("comment") == "staged"
    )
    table = seen(f"delete rule inet qhs forward handle {handle}")
    assert "staged" not in table.flows
    assert table != WANTED


@pytest.mark.parametrize(
    ("written", "odd"),
    [
        ("ip saddr != 10.0.0.1", "!="),
        ("meta mark 7", "mark"),
        ("ip saddr 10.0.0.1 ip saddr 10.0.0.0/8", "10.0.0.0"),
        ("tcp flags syn", "flags"),
        ("limit rate 5/second", "limit"),
        ('log prefix "qhs-staged:other "', "log"),
        ('iifname { "a", "b" }', "iifname"),
    ],
)
def test_expression_that_is_not_ours_is_kept_as_text(written: str, odd: str) -> None:
    table = seen(f'insert rule inet qhs forward {written} counter accept comment "staged"')
    first = table.flows["staged"].rules[0]
    assert isinstance(first, OddRule)
    assert odd in first.raw
    assert first != replace(first, raw="")


def test_expiry_that_one_rule_of_a_flow_lost_is_seen() -> None:
    table = seen('add rule inet qhs forward iifname "a" counter accept comment "expiring"')
    assert table.flows["expiring"].expires == EXPIRES
    assert table.flows["expiring"].rules[1] == OddRule("forward", iif="a", raw="expires None")


def test_order_changed_by_hand_is_seen() -> None:
    table = seen('insert rule inet qhs input ct state invalid counter drop comment "guard:invalid"')
    assert table.sequence["input"][0] == "guard:invalid"
    assert table.sequence != WANTED.sequence


@pytest.mark.parametrize(
    ("by_hand", "shown"),
    [
        ("add chain inet qhs forward { policy accept ; }", '"policy": "accept"'),
        ("add chain inet qhs extra", '"name": "extra"'),
        ("add set inet qhs hosts { type ipv4_addr ; }", '"hosts"'),
        ("add table inet qhs { flags dormant ; }", '"flags"'),
    ],
)
def test_what_is_neither_our_chain_nor_a_rule_is_foreign(by_hand: str, shown: str) -> None:
    table = seen(by_hand)
    assert any(shown in one for one in table.foreign), table.foreign


CONNECT = """
import socket
server = socket.create_server(("127.0.0.1", 8080))
socket.create_connection(server.getsockname(), timeout=0.5)
"""


@pytest.mark.parametrize(("year", "passes"), [(2020, False), (2100, True)])
def test_kernel_lets_a_flow_through_until_it_expires(year: int, passes: bool) -> None:
    rules = (Rule("input", iif="lo", protocol="tcp", ports=("8080",)),)
    flow = Flow((*rules, Rule("output")), expires=datetime(year, 1, 1, tzinfo=UTC))
    # The answer comes in through the loopback as well, so let what is established pass.
    text = render([("tracked", Rule("input", states=("established",))), ("out", Rule("output"))], {"temporary": flow})
    steps = f"ip link set lo up && nft -f - && {sys.executable} -c '{CONNECT}'"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", steps], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) is passes, done.stderr
    assert passes or "timed out" in done.stderr
