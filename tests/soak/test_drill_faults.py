"""T-B11 in full: every fault turns its drill red for its reason, and a run that is killed leaves none in."""

from __future__ import annotations

import json
import os
import signal
import subprocess

from qhs.drill import held
from qhs.drill.known import ESTATE
from qhs.drill.plan import names
from qhs.drill.plan import read as read_plan
from qhs.drill.selftest import faults
from qhs.drill.selftest.deeds import FOLDER, MARK
from qhs.twin import outage
from qhs.twin.names import Twin
from stacks.model import load
from tests.twin.conftest import NAME, QHS, Run, WatchedUp
from tests.twin.databases import active
from tests.twin.waiting import await_

BREAKS = "blind-third-site"
"""What a run is killed with: it says by itself whether it is in."""


def test_every_fault_turns_its_drill_red_for_its_reason(
    qhs: Run, twin: Twin, second_up: WatchedUp, figures: dict[str, float]
) -> None:
    estate = load("twin")
    known = faults.read({name: read_plan(name, ESTATE, estate.catalogue.tiers) for name in names()})
    before = active(qhs)
    done = qhs("drill", "selftest", "--json")
    assert done.stdout, done.stderr[-3000:]
    tried = json.loads(done.stdout)["faults"]
    assert [one for one in tried if not one["passed"]] == []
    assert (done.returncode, [one["fault"] for one in tried]) == (0, [*known])
    assert active(qhs) == before
    assert not (held.folder(twin) / FOLDER / MARK).exists()
    assert outage.heal(twin, "hall") == []
    moved = qhs("drill", "switchover")
    assert moved.returncode == 0, moved.stdout[-3000:] + moved.stderr[-3000:]
    assert qhs("drill", "switchover").returncode == 0
    figures |= {
        "faults": len(tried),
        "found for their reason": sum(one["passed"] for one in tried),
        "seconds": round(sum(one["seconds"] for one in tried), 1),
    }


def test_what_a_killed_run_has_put_in_the_next_one_takes_out(qhs: Run, twin: Twin, second_up: WatchedUp) -> None:
    mark, env = held.folder(twin) / FOLDER / MARK, {**os.environ, "QHS_TWIN": NAME}
    command = [QHS, "drill", "selftest", "--only", BREAKS]
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        await_(lambda: twin.cuts.is_file() or running.poll() is not None, 300)
        running.send_signal(signal.SIGKILL)
    assert mark.exists()
    assert twin.cuts.is_file()
    done = qhs("drill", "selftest", "--only", "skipped-fence")
    assert done.returncode == 0, done.stderr[-3000:]
    assert not mark.exists()
    assert not twin.cuts.is_file()
