"""What `qhs bench sign` asks for, and how it shows what it measured."""

from __future__ import annotations

import os

import pytest
from asn1crypto import tsp
from rich.console import Console
from stamping import asked

from policies.baseline import load
from qhs.bench.sign import CONTROL, BenchReport, Capacity, Measured, query, table


def test_its_request_for_a_time_stamp_is_one() -> None:
    digest = os.urandom(32)
    request = asked(query(digest))
    assert request["message_imprint"]["hashed_message"].native == digest
    assert request["cert_req"].native
    assert tsp.TimeStampReq.load(query(digest)).dump() == query(digest)


def report(*measured: Measured, wanted: Capacity | None = None) -> BenchReport:
    wanted = wanted or Capacity.model_validate(load().thresholds(CONTROL))
    return BenchReport(environment="twin", algorithm="rsa-3072", cores=2, measured=list(measured), wanted=wanted)


def test_each_way_to_sign_is_a_line_and_so_is_what_is_wanted() -> None:
    console = Console(width=80)
    with console.capture() as shown:
        console.print(
            table(
                report(
                    Measured(what="device", clients=8, rate=700.04),
                    Measured(what="raw", clients=8, rate=350, p95_ms=31.25),
                    wanted=Capacity(users=900, within_seconds=60, p95_ms=500),
                )
            )
        )
    lines = [" ".join(line.replace("│", " ").split()) for line in shown.get().splitlines()]
    assert "device 8 700.0" in lines
    assert "raw 8 350.0 31.2" in lines
    assert "wanted of cades (C-SIG-03) 16 15.0 500.0" in lines
    assert any("rsa-3072 on 2 cores" in line for line in lines)


def test_what_is_less_than_wanted_is_said() -> None:
    """T-E14: users x peak, of signatures as documents carry them and with most clients."""
    wanted = Capacity(users=900, within_seconds=60, p95_ms=500)
    enough = Measured(what="cades", clients=16, rate=15, p95_ms=500)
    fewer = Measured(what="cades", clients=8, rate=1, p95_ms=9000)
    assert report(fewer, enough, wanted=wanted).short == []
    slow = enough.model_copy(update={"rate": 14.9, "p95_ms": 500.1})
    assert report(slow, wanted=wanted).short == [
        "found 14.9 signatures a second, wanted 15.0",
        "found 95 % of answers within 500.1 ms, wanted 500",
    ]


@pytest.mark.parametrize(("name", "by"), [("users", 1), ("within_seconds", -1), ("p95_ms", -1)])
def test_each_figure_of_the_baseline_counts(name: str, by: int) -> None:
    found = Capacity.model_validate(load().thresholds(CONTROL))
    just = Measured(what="cades", clients=16, rate=found.rate, p95_ms=found.p95_ms)
    harder = found.model_copy(update={name: getattr(found, name) + by})
    assert report(just, wanted=found).short == []
    assert report(just, wanted=harder).short != []
