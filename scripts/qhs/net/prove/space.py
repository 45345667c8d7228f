"""Sets of packets as exact arithmetic: a box is sources by destinations by services, each a union of spans.

A service is `protocol * 65536 + port`; for ICMP the port is the message type. Addresses are integers of one family.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple

from stacks.model.addresses import Pair

type Spans = tuple[tuple[int, int], ...]
"""Sorted, disjoint, both ends included."""
type ByFamily[T] = dict[int, T]

FAMILIES = (4, 6)

PORTS = 1 << 16
ANY_SERVICE: Spans = ((0, 256 * PORTS - 1),)
ANY_ADDRESS: dict[int, Spans] = {4: ((0, (1 << 32) - 1),), 6: ((0, (1 << 128) - 1),)}
PROTOCOLS = {
    "icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "ipv6-icmp": 58, "icmpv6": 58,
    "vrrp": 112, "sctp": 132, "udplite": 136,
}  # fmt: skip
_NUMBERS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 112: "vrrp"}


EXAMPLES = {4: ip_address("203.0.113.10"), 6: ip_address("2001:db8::10")}


class Box(NamedTuple):
    """A product of three sets of numbers; never empty in any of them."""

    src: Spans
    dst: Spans
    svc: Spans


def anything(family: int) -> Box:
    """Every packet of a family."""
    return Box(ANY_ADDRESS[family], ANY_ADDRESS[family], ANY_SERVICE)


def service(protocol: int, first: int = 0, last: int = PORTS - 1) -> Spans:
    """The services of one protocol, from one port to another."""
    return ((protocol * PORTS + first, protocol * PORTS + last),)


def union(spans: Iterable[tuple[int, int]]) -> Spans:
    """Spans in any order, made sorted and disjoint."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(spans):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return tuple(merged)


def spans_of(pairs: Iterable[Pair]) -> ByFamily[Spans]:
    """The addresses of networks, in each family."""
    both = [pair.both for pair in pairs]
    return {
        family: union((int(n[index].network_address), int(n[index].broadcast_address)) for n in both)
        for index, family in enumerate(FAMILIES)
    }


def meet(one: Spans, two: Spans) -> Spans:
    """What is in both."""
    if one is two or not one:
        return one
    if len(one) == len(two) == 1:  # nearly always
        (low, high), (other_low, other_high) = one[0], two[0]
        if other_low <= low and high <= other_high:
            return one
        if low <= other_low and other_high <= high:
            return two
    found = []
    left = right = 0
    while left < len(one) and right < len(two):
        low, high = max(one[left][0], two[right][0]), min(one[left][1], two[right][1])
        if low <= high:
            found.append((low, high))
        if one[left][1] < two[right][1]:
            left += 1
        else:
            right += 1
    return tuple(found)


def minus(one: Spans, two: Spans) -> Spans:
    """What is in the first and not in the second."""
    found = []
    for low, high in one:
        at = low
        for cut_low, cut_high in two:
            if cut_high < at:
                continue
            if cut_low > high:
                break
            if cut_low > at:
                found.append((at, cut_low - 1))
            at = cut_high + 1
            if at > high:
                break
        if at <= high:
            found.append((at, high))
    return tuple(found)


def both(one: Box, two: Box) -> Box | None:
    """The packets that are in both boxes."""
    if not (dst := meet(one.dst, two.dst)) or not (src := meet(one.src, two.src)):
        return None
    svc = meet(one.svc, two.svc)
    return Box(src, dst, svc) if svc else None


def without(one: Box, two: Box) -> list[Box]:
    """The packets of the first box that are not in the second, as disjoint boxes."""
    common = both(one, two)
    if common is None:
        return [one]
    pieces = []
    if left := minus(one.dst, common.dst):
        pieces.append(Box(one.src, left, one.svc))
    if left := minus(one.src, common.src):
        pieces.append(Box(left, common.dst, one.svc))
    if left := minus(one.svc, common.svc):
        pieces.append(Box(common.src, common.dst, left))
    return pieces


def rest(box: Box, cuts: Iterable[Box]) -> list[Box]:
    """The packets of a box that are in none of the cuts."""
    left = [box]
    for cut in cuts:
        if not left:
            break
        left = [piece for one in left for piece in without(one, cut)]
    return left


def sample(box: Box, family: int) -> tuple[str, str, str]:
    """One packet of a box, as people write it: source, destination, `tcp/443`."""
    protocol, port = divmod(box.svc[0][0], PORTS)
    return _address(box.src, family), _address(box.dst, family), f"{_NUMBERS.get(protocol, str(protocol))}/{port}"


def _address(spans: Spans, family: int) -> str:
    """An address that a host could have: not the first of its segment, and outside one meant for examples."""
    example = int(EXAMPLES[family])
    low, high = spans[0]
    if any(first <= example <= last for first, last in spans):
        return str(EXAMPLES[family])
    return str(ip_address(min(low + 10, high).to_bytes(4 if family == 4 else 16)))  # noqa: PLR2004 - IPv4
