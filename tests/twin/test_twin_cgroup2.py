"""A twin on control groups of version 2, wherever this runs: a mount namespace that shows no others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qhs.folders import CLONE

pytestmark = pytest.mark.live

ONLY_V2 = "umount --recursive /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup"
RUN = """
from qhs.twin import cgroup, inside, access, lifecycle, outage
from qhs.twin.names import Twin
from qhs.twin.standing import state
from tests.twin.lab import TOPOLOGY
twin = Twin.here()
assert not cgroup.legacy()
try:
    assert set(lifecycle.up(TOPOLOGY).booted) == {"gate", "host"}
    assert lifecycle.up(TOPOLOGY).booted == {}
    ssh = ["ssh", "-F", str(access.config(twin)), "host"]
    said = inside.run(twin, [*ssh, "systemctl is-system-running --wait"])
    assert said.stdout == "running\\n", said
    assert all(it.cpu_seconds for it in lifecycle.status())
    assert (outage.pause(twin, "host"), state(twin, "host")) == (["host"], "paused")
    assert (outage.resume(twin, "host"), state(twin, "host")) == (["host"], "running")
    outage.pause(twin, "host")
    assert (outage.power_off(twin, "host"), state(twin, "host")) == (["host"], "off")
    assert (outage.power_on(twin, "host"), state(twin, "host")) == (["host"], "running")
finally:
    lifecycle.down()
assert not any((point / twin.cgroup).exists() for point in cgroup.points())
"""


def test_machines_boot_and_go(tmp_path: Path) -> None:
    environment = os.environ | {"XDG_STATE_HOME": str(tmp_path), "QHS_TWIN": f"two{os.getpid()}"}
    script = f'{ONLY_V2} && exec "$@"'
    wrapped = ["unshare", "--mount", "--propagation=private", "--", "sh", "-euc", script, "sh"]
    run = subprocess.run(
        [*wrapped, sys.executable, "-c", RUN],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        cwd=CLONE,
    )
    assert run.returncode == 0, run.stderr
