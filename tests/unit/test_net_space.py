"""The arithmetic of the prover against counting by hand, over a universe small enough to count."""

from __future__ import annotations

import random
from itertools import product

import pytest

from qhs.net.prove.space import Box, anything, both, meet, minus, rest, sample, union

SIZE = 8
type Points = set[tuple[int, int, int]]


def spans(some: random.Random) -> tuple[tuple[int, int], ...]:
    return union((low, min(SIZE - 1, low + some.randrange(3))) for low in some.sample(range(SIZE), some.randint(1, 3)))


def numbers(found: tuple[tuple[int, int], ...]) -> set[int]:
    return {n for low, high in found for n in range(low, high + 1)}


def points(boxes: list[Box]) -> Points:
    return {p for box in boxes for p in product(numbers(box.src), numbers(box.dst), numbers(box.svc))}


@pytest.mark.parametrize("seed", range(200))
def test_sets_of_packets_are_exact(seed: int) -> None:
    some = random.Random(seed)  # noqa: S311 - repeatable cases, nothing secret
    one, two, three = (Box(spans(some), spans(some), spans(some)) for _ in range(3))
    assert numbers(meet(one.src, two.src)) == numbers(one.src) & numbers(two.src)
    assert numbers(minus(one.src, two.src)) == numbers(one.src) - numbers(two.src)
    common = both(one, two)
    assert points([common] if common else []) == points([one]) & points([two])
    left = rest(one, [two, three])
    assert points(left) == points([one]) - points([two]) - points([three])
    assert sum(len(points([box])) for box in left) == len(points(left)), "pieces overlap"


def test_a_sample_is_a_packet_that_people_can_read() -> None:
    box = Box(((0x0A10_0001, 0x0A10_0009),), ((0xC612_0000, 0xC612_FFFF),), ((6 * 65536 + 443, 6 * 65536 + 443),))
    assert sample(box, 4) == ("10.16.0.9", "198.18.0.10", "tcp/443")
    assert sample(anything(6), 6)[:2] == ("2001:db8::10", "2001:db8::10")
