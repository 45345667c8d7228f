"""A plan of the real estate needs nothing that can be reached (T-A01)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from qhs.plan import ALONE
from stacks.layers import stack_names
from stacks.model import load
from stacks.model.ingress import ways_in
from stacks.model.rules import rulesets
from tests.pace import Pace

QHS = Path(sys.executable).with_name("qhs")

# connect(7, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("192.0.2.1")}, 16) = -1 ...
# sendmmsg(7, [{msg_hdr={msg_name={sa_family=AF_INET6, ... inet_pton(AF_INET6, "2001:db8::1", &sin6_addr) ...
_ADDRESS = re.compile(r'(?:inet_addr\("|inet_pton\(AF_INET6, ")([^"]+)"')

needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed: apt-get install strace")


def test_a_full_plan_of_prod_is_accepted_within_a_minute() -> None:
    pace = Pace()
    started = time.monotonic()
    done = subprocess.run([QHS, "plan", "prod", "--json"], capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    limit = pace.limit(60)
    assert done.returncode == 0, done.stdout + done.stderr
    plans = {one["stack"]: one for one in json.loads(done.stdout)["plans"]}
    estate = load("prod")
    assert plans.keys() == {str(one) for one in stack_names(estate)}
    for site in estate.inventory.sites:
        segments = sum(place.zone is not None and place.site == site for place in estate.places.values())
        # Beside these the stack itself, the site and its names; an enforcement and its ruleset for each target.
        names = len(estate.served(site)) + sum(len(one.published) for one in ways_in(estate, site).values())
        own = segments + 2 * len(rulesets(estate, site)) + names
        assert plans[f"prod.{site}.network"]["resources"] == 3 + own
    assert seconds <= limit


@needs_strace
def test_nothing_outside_of_loopback_is_even_tried(tmp_path: Path) -> None:
    tried = _tried([str(QHS), "plan", "prod"], tmp_path / "trace")
    assert tried, "the trace shows no address at all, not even the engine's own on loopback"
    assert {address for address in tried if not _loopback(address)} == set()


@needs_strace
@pytest.mark.parametrize(
    "call",
    [
        "connect(('192.0.2.1', 9))",
        "sendto(b'?', ('192.0.2.1', 9))",
        "sendmsg([b'?'], [], 0, ('192.0.2.1', 9))",
    ],
)
def test_a_trace_shows_datagrams_as_well_as_connections(call: str, tmp_path: Path) -> None:
    program = f"import contextlib, socket\nwith contextlib.suppress(OSError): socket.socket(2, 2).{call}"
    assert _tried([*ALONE, sys.executable, "-c", program], tmp_path / "trace") == {"192.0.2.1"}


def _tried(command: list[str], trace: Path) -> set[str]:
    """Every address that the command or a child of it gave to the kernel, to connect or to send to."""
    calls = "trace=connect,sendto,sendmsg,sendmmsg"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-v", "-e", calls, "-o", trace, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return set(_ADDRESS.findall(trace.read_text()))


def _loopback(text: str) -> bool:
    address = ip_address(text)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def test_an_unknown_environment_is_an_error_of_use() -> None:
    done = subprocess.run([QHS, "plan", "nowhere"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "'twin', 'prod'" in done.stderr
