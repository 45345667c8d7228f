"""A plan of the real estate needs nothing that can be reached (T-A01)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from ipaddress import ip_address
from pathlib import Path

from stacks.model import load
from stacks.model.rules import rulesets

QHS = Path(sys.executable).with_name("qhs")

# connect(7, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("192.0.2.1")}, 16) = -1 ...
_CONNECT = re.compile(r'connect\(.*(?:inet_addr\("|inet_pton\(AF_INET6, ")([^"]+)"')


def test_a_full_plan_of_prod_is_accepted_within_20_seconds() -> None:
    started = time.monotonic()
    done = subprocess.run([QHS, "plan", "prod", "--json"], capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stdout + done.stderr
    plans = {one["stack"]: one for one in json.loads(done.stdout)}
    estate = load("prod")
    assert plans.keys() == {f"prod.{site}.network" for site in estate.inventory.sites}
    for site in estate.inventory.sites:
        segments = sum(place.site == site for place in estate.places.values())
        # Beside these the stack itself and the site; an enforcement and its ruleset for each target.
        assert plans[f"prod.{site}.network"]["resources"] == 2 + segments + 2 * len(rulesets(estate, site))
    assert seconds <= 20, seconds


def test_nothing_outside_of_loopback_is_even_tried(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-e", "trace=connect", "-o", trace, QHS, "plan", "twin"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = set(_CONNECT.findall(trace.read_text()))
    assert tried, "the trace shows no connection at all, not even the engine's own on loopback"
    assert {address for address in tried if not _loopback(address)} == set()


def _loopback(text: str) -> bool:
    address = ip_address(text)
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def test_an_unknown_environment_is_an_error_of_use() -> None:
    done = subprocess.run([QHS, "plan", "nowhere"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "'twin', 'prod'" in done.stderr
