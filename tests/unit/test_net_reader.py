"""What the reader makes of every form that nft prints, loaded by nft itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from qhs.net.prove.filters import Filter, View
from qhs.net.prove.kernel import KernelError, listings, missing
from qhs.net.prove.reader import NotUnderstoodError, read
from qhs.net.prove.space import PROTOCOLS, Box, both

NOW = datetime(2026, 12, 1, tzinfo=UTC)
pytestmark = pytest.mark.skipif(missing() is not None, reason=f"rulesets cannot be loaded: {missing()}")


def loaded(rules: str, *, policy: str = "drop", more: str = "", now: datetime = NOW) -> Filter:
    hook = "type filter hook forward priority filter"
    text = f"table inet qhs {{\n{more}\nchain forward {{ {hook}; policy {policy};\n{rules}\n}}\n}}\n"
    return read(listings({"box": text})["box"], "box").at(now)


def passes(found: Filter, packet: str, *, iif: str = "a", oif: str = "b", state: str = "new") -> bool:
    """`source destination protocol/port`: whether one packet is let through."""
    source, destination, service = packet.split()
    protocol, _, port = service.partition("/")
    family = ip_address(source).version
    number = PROTOCOLS[protocol] * 65536 + int(port or 0)
    one = Box(*(((n, n),) for n in (int(ip_address(source)), int(ip_address(destination)), number)))
    view = View("forward", iif, oif, family, state)  # type: ignore[arg-type]  # a word of the test's own
    return any(both(hit.box, one) for hit in found.allowed(view))


V4, V6 = "10.0.0.5 10.2.0.1", "fd00::5 fd00::1"
CASES = {
    "ip saddr 10.0.0.0/24 accept": ({f"{V4} tcp/1"}, {"10.0.1.0 10.2.0.1 tcp/1", f"{V6} tcp/1"}),
    "ip saddr != 10.0.0.0/24 accept": ({"10.0.1.0 10.2.0.1 tcp/1"}, {f"{V4} tcp/1", f"{V6} tcp/1"}),
    "ip saddr 10.0.0.4-10.0.0.6 accept": ({f"{V4} tcp/1"}, {"10.0.0.7 10.2.0.1 tcp/1"}),
    "ip saddr { 10.0.0.5, 10.9.0.0/16 } accept": (
        {f"{V4} udp/1", "10.9.1.1 1.1.1.1 udp/1"},
        {"10.0.0.6 1.1.1.1 udp/1"},
    ),
    "ip saddr @known accept": ({f"{V4} tcp/1"}, {"10.0.0.6 10.2.0.1 tcp/1"}),
    "ip6 daddr fd00::/64 accept": ({f"{V6} tcp/1"}, {"fd00::5 fd01::1 tcp/1", f"{V4} tcp/1"}),
    "tcp dport { 443, 5000-5100 } accept": ({f"{V4} tcp/443", f"{V6} tcp/5050"}, {f"{V4} tcp/442", f"{V4} udp/443"}),
    "udp dport != 53 accept": ({f"{V4} udp/54"}, {f"{V4} udp/53", f"{V4} tcp/54"}),
    "meta l4proto { tcp, udp } th dport 53 accept": ({f"{V4} tcp/53", f"{V6} udp/53"}, {f"{V4} tcp/54"}),
    "meta nfproto ipv6 meta l4proto tcp accept": ({f"{V6} tcp/9"}, {f"{V4} tcp/9", f"{V6} udp/9"}),
    "ip protocol udp accept": ({f"{V4} udp/9"}, {f"{V4} tcp/9", f"{V6} udp/9"}),
    "meta l4proto vrrp accept": ({f"{V4} vrrp/0"}, {f"{V4} tcp/0"}),
    "icmp type echo-request accept": ({f"{V4} icmp/8"}, {f"{V4} icmp/0", f"{V6} ipv6-icmp/128"}),
    "icmpv6 type { nd-neighbor-solicit, 136 } accept": ({f"{V6} ipv6-icmp/135"}, {f"{V6} ipv6-icmp/128"}),
    'iifname "a" oifname { "b", "c" } accept': ({f"{V4} tcp/1"}, set()),
    'iifname != "a" accept': (set(), {f"{V4} tcp/1"}),
    'iifname "a*" accept': ({f"{V4} tcp/1"}, set()),
    'iifname "x*" accept': (set(), {f"{V4} tcp/1"}),
    "ct state new accept": ({f"{V4} tcp/1"}, set()),
    "ct state established,related accept": (set(), {f"{V4} tcp/1"}),
    "tcp dport 22 drop; tcp dport 20-25 accept": ({f"{V4} tcp/21"}, {f"{V4} tcp/22"}),
    "tcp dport 22 accept; tcp dport 22 drop": ({f"{V4} tcp/22"}, set()),
    "tcp dport 22 reject; accept": ({f"{V4} tcp/23"}, {f"{V4} tcp/22"}),
    "ct original ip saddr 10.0.0.0/24 meta l4proto tcp ct original proto-dst 443-445 accept": (
        {f"{V4} tcp/443", f"{V4} tcp/445"},
        {f"{V4} tcp/442", f"{V4} udp/443", "10.0.1.0 10.2.0.1 tcp/443", f"{V6} tcp/443"},
    ),
    "ct original ip6 daddr fd00::/64 meta l4proto udp accept": ({f"{V6} udp/1"}, {f"{V6} tcp/1", f"{V4} udp/1"}),
    # ICMP has a type and a code in the place of a port: 2048 is type 8 with code 0.
    "meta l4proto icmp ct original proto-dst 2048 accept": ({f"{V4} icmp/8"}, {f"{V4} icmp/0", f"{V4} tcp/2048"}),
    "jump sub; accept": ({f"{V4} tcp/1", f"{V4} tcp/7"}, {f"{V4} tcp/8"}),
    "ip saddr 10.0.0.0/24 jump sub; accept": ({"10.0.1.1 10.2.0.1 tcp/8"}, {f"{V4} tcp/8"}),
    'counter log prefix "seen "; tcp dport 1 log prefix "x" counter accept comment "y"': (
        {f"{V4} tcp/1"},
        {f"{V4} tcp/2"},
    ),
}
MORE = """
set known { type ipv4_addr; flags interval; elements = { 10.0.0.5 } }
chain sub { tcp dport 7 return; tcp dport 7-8 drop; }
"""


@pytest.mark.parametrize("rules", CASES)
def test_a_rule_means_what_nft_means(rules: str) -> None:
    found = loaded(rules.replace("; ", "\n"), more=MORE)
    let_through, stopped = CASES[rules]
    assert {packet for packet in let_through | stopped if passes(found, packet)} == let_through


def test_a_policy_is_the_last_rule() -> None:
    assert passes(loaded("tcp dport 1 drop", policy="accept"), f"{V4} tcp/2")
    assert not passes(loaded("tcp dport 1 drop", policy="accept"), f"{V4} tcp/1")


def test_a_rule_is_dead_from_the_second_of_its_expiry() -> None:
    rules = f"meta time < {int(NOW.timestamp())} tcp dport 1 accept"
    assert passes(loaded(rules, now=NOW - timedelta(seconds=1)), f"{V4} tcp/1")
    assert not passes(loaded(rules, now=NOW), f"{V4} tcp/1")


def test_a_drop_of_another_table_beats_an_accept() -> None:
    text = "".join(
        f"table inet {name} {{ chain f {{ type filter hook forward priority {priority}; policy {policy};\n}}\n}}\n"
        for name, priority, policy in (("one", 0, "accept"), ("two", 5, "drop"))
    )
    assert not passes(read(listings({"box": text})["box"], "box"), f"{V4} tcp/1")


@pytest.mark.parametrize(
    "rules",
    [
        "tcp sport 1024 accept",
        "meta l4proto tcp ct original proto-src 1024 accept",
        "ct reply ip saddr 10.0.0.1 accept",
        "meta mark 7 accept",
        "limit rate 5/second accept",
        "ct count over 3 drop",
        "goto sub",
    ],
)
def test_what_it_cannot_decide_is_named(rules: str) -> None:
    with pytest.raises(NotUnderstoodError, match=r"^box: rule \d+ of inet qhs forward: found "):
        loaded(rules, more=MORE)


def test_a_translation_of_addresses_is_refused() -> None:
    text = "table inet nat { chain post { type nat hook postrouting priority srcnat; masquerade\n}\n}\n"
    with pytest.raises(NotUnderstoodError, match=r"^box: "):
        read(listings({"box": text})["box"], "box")


KUBE_PROXY = """table ip NAME {
  chain service {
    tcp dport 443 dnat to 10.0.0.9:6443
  }
  map services {
    type ipv4_addr . inet_proto . inet_service : verdict
    elements = { 10.9.0.1 . tcp . 443 : goto service }
  }
  chain prerouting {
    type nat hook prerouting priority dstnat
    ip daddr . meta l4proto . th dport vmap @services
  }
}
"""


def test_what_leads_to_services_of_a_cluster_is_left_out_and_nothing_else_like_it() -> None:
    rules = "type filter hook forward priority 0; policy drop\ntcp dport 443 accept\n"
    own = f"table inet qhs {{\nchain forward {{\n{rules}}}\n}}\n"
    both_of_them = listings({one: own + KUBE_PROXY.replace("NAME", one) for one in ("kube-proxy", "other")})
    found = read(both_of_them["kube-proxy"], "box").at(NOW)
    assert passes(found, f"{V4} tcp/443")
    assert not passes(found, f"{V4} tcp/6443")
    with pytest.raises(NotUnderstoodError, match="services"):
        read(both_of_them["other"], "box")


POLICIES = """table TABLE {
  chain pod {
    ct state new meta mark 0x10000 counter reject
    meta mark set 0x20000
  }
  chain forward {
    type TYPE hook HOOK priority PRIORITY; policy accept;
    ip daddr 10.0.0.9 counter jump pod
  }
}
"""


@pytest.mark.parametrize("table", ["ip filter", "inet qhs-pods"])
def test_what_policies_of_a_cluster_take_away_is_left_out_as_long_as_it_only_filters(table: str) -> None:
    rules = "type filter hook forward priority 0; policy drop\ntcp dport 443 accept\n"
    own = f"table inet qhs {{\nchain forward {{\n{rules}}}\n}}\n"
    theirs = POLICIES.replace("TABLE", table)
    for word, value in {"TYPE": "filter", "HOOK": "forward", "PRIORITY": "filter + 10"}.items():
        theirs = theirs.replace(word, value)
    assert passes(read(listings({"box": own + theirs})["box"], "box").at(NOW), f"{V4} tcp/443")
    led = POLICIES.replace("TABLE", table)
    for word, value in {"TYPE": "nat", "HOOK": "prerouting", "PRIORITY": "dstnat"}.items():
        led = led.replace(word, value)
    with pytest.raises(NotUnderstoodError, match="addresses change on the way"):
        read(listings({"box": own + led})["box"], "box")


def test_a_ruleset_that_nft_refuses_is_one_message() -> None:
    with pytest.raises(KernelError, match=r"^bad: nft refuses the ruleset: "):
        listings({"good": "table inet a {}\n", "bad": "table inet a { chain x { nonsense } }\n"})
