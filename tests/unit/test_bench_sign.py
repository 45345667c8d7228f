"""What `qhs bench sign` asks for, and how it shows what it measured."""

from __future__ import annotations

import os

from asn1crypto import tsp
from rich.console import Console
from stamping import asked

from qhs.bench.sign import BenchReport, Measured, query, table


def test_its_request_for_a_time_stamp_is_one() -> None:
    digest = os.urandom(32)
    request = asked(query(digest))
    assert request["message_imprint"]["hashed_message"].native == digest
    assert request["cert_req"].native
    assert tsp.TimeStampReq.load(query(digest)).dump() == query(digest)


def test_each_way_to_sign_is_a_line() -> None:
    measured = [
        Measured(what="device", clients=8, rate=700.04),
        Measured(what="raw", clients=8, rate=350, p95_ms=31.25),
    ]
    console = Console(width=80)
    with console.capture() as shown:
        console.print(table(BenchReport(environment="twin", algorithm="rsa-3072", cores=2, measured=measured)))
    lines = [" ".join(line.replace("│", " ").split()) for line in shown.get().splitlines()]
    assert "device 8 700.0" in lines
    assert "raw 8 350.0 31.2" in lines
    assert any("rsa-3072 on 2 cores" in line for line in lines)
