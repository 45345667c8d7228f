"""What `qhs hsm status` says of devices, and of one that does not answer."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from qhs.hsm import cli
from qhs.hsm.device import DeviceError
from qhs.twin.names import Twin
from stacks.model import load

TOKEN = {
    "label": "ky-so",
    "serial": "4c96e4a1e506e5e8",
    "model": "SoftHSM v2",
    "manufacturer": "SoftHSM project",
    "flags": ["CKF_USER_PIN_INITIALIZED"],
    "mechanisms": ["CKM_ECDSA"],
}


def test_each_device_is_named_with_its_tokens_and_one_that_is_silent_makes_it_incomplete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(twin: Twin, machine: str, verb: str) -> dict[str, Any]:
        if machine == "ndc-hsm2":
            raise DeviceError(machine, "silent", "no route to host")
        held = [TOKEN] if machine == "qhdc-hsm1" else []
        return {"device": {"manufacturer": "SoftHSM", "version": "2.6"}, "tokens": held}

    monkeypatch.setattr(cli, "ask", answer)
    report = cli.look(load("twin"), Twin("unit"))
    assert report.code == 3
    assert [one.machine for one in report.devices] == ["qhdc-hsm1", "qhdc-hsm2", "ndc-hsm1", "ndc-hsm2"]
    console = Console(width=200)
    with console.capture() as shown:
        console.print(cli.table(report))
    lines = shown.get().splitlines()
    assert any(
        all(text in line for text in ("qhdc-hsm1", "ky-so", "4c96e4a1e506e5e8", "initialized")) for line in lines
    )
    assert any("qhdc-hsm2" in line and "none" in line for line in lines)
    assert any("ndc-hsm2" in line and "no route to host" in line for line in lines)
    assert [line.partition(":")[0] for line in report.limits] == ["limit soft-hsm"]
