"""A plan of the real estate needs nothing that can be reached (T-A01)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

QHS = Path(sys.executable).with_name("qhs")
SITES = {"prod.qhdc.network", "prod.ndc.network", "prod.hall.network"}

# connect(7, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("192.0.2.1")}, 16) = -1 ...
_CONNECT = re.compile(r'connect\(.*(?:inet_addr\("|inet_pton\(AF_INET6, ")([^"]+)"')


def test_a_full_plan_of_prod_is_accepted_within_20_seconds() -> None:
    started = time.monotonic()
    done = subprocess.run([QHS, "plan", "prod", "--json"], capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stdout + done.stderr
    plans = {one["stack"]: one for one in json.loads(done.stdout)}
    assert plans.keys() == SITES
    assert all(one["resources"] > 50 for one in plans.values())
    assert seconds <= 20, seconds


def test_nothing_outside_of_loopback_is_even_tried(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-e", "trace=connect", "-o", trace, QHS, "plan", "twin"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = set(_CONNECT.findall(trace.read_text()))
    assert tried, "the trace shows no connection at all, not even the engine's own on loopback"
    assert {address for address in tried if not address.startswith("127.") and address != "::1"} == set()


def test_an_unknown_environment_is_an_error_of_use() -> None:
    done = subprocess.run([QHS, "plan", "nowhere"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "'twin', 'prod'" in done.stderr
