"""Each thing that a host lacks has one message with its way out; the facts are injected."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qhs.twin import preflight
from qhs.twin.preflight import Host

GOOD = Host(
    system="Linux",
    uid=0,
    missing_tools=(),
    missing_kernel=(),
    memory_available=8 * 10**9,
    disk_free=50 * 10**9,
    state=Path("/var/state"),
    state_filesystem="ext4",
    inside_twin=False,
)


def test_a_good_host_passes() -> None:
    assert preflight.faults(GOOD, 28) == []


@pytest.mark.parametrize(
    ("lack", "what", "way_out"),
    [
        ({"system": "Darwin"}, "this is Darwin", "Linux VM"),
        ({"uid": 1000}, "user 1000 cannot", "as root"),
        (
            {"missing_tools": ("systemd-nspawn",)},
            "systemd-nspawn is not",
            "apt-get install systemd-container",
        ),
        ({"missing_kernel": ("nftables",)}, "the kernel has no nftables", "Debian's own"),
        ({"inside_twin": True}, "inside the twin", "leave it"),
        ({"state_filesystem": "overlay"}, "/var/state is itself on an overlay", "XDG_STATE_HOME"),
        ({"memory_available": 10**9}, "28 machines need 6.1 GB of memory; 1.0 GB are free", "another twin"),
        ({"disk_free": 10**9}, "28 machines need 2.9 GB of disk; /var/state has 1.0 GB", "make room"),
    ],
)
def test_each_lack_has_its_message(lack: dict[str, Any], what: str, way_out: str) -> None:
    (fault,) = preflight.faults(replace(GOOD, **lack), 28)
    assert what in fault.what
    assert way_out in fault.way_out


def test_lacks_add_up() -> None:
    poor = replace(GOOD, missing_tools=("nft", "ip"), memory_available=0)
    assert len(preflight.faults(poor, 1)) == 3


def test_a_running_twin_needs_no_more_memory() -> None:
    assert preflight.faults(replace(GOOD, memory_available=0, disk_free=0), 0) == []


def test_down_needs_little() -> None:
    assert preflight.basics(replace(GOOD, missing_tools=("systemd-nspawn",), disk_free=0)) == []
    assert preflight.basics(replace(GOOD, uid=1000))
