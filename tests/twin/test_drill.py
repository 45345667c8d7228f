"""The estate moves from one centre to the other and back, or comes back from copies (T-B02, T-B10, T-B18, T-B21)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from qhs.drill import held
from qhs.drill.journal import Begun, Journal, journals
from qhs.net.probe.report import ProbeReport
from qhs.twin.names import Twin
from stacks.model import bubble
from stacks.model.data import databases
from tests.twin.conftest import MEASURED, NAME, QHS, Run, WatchedUp
from tests.twin.databases import ESTATE, active, leader, told
from tests.twin.hosts import Hosts

pytestmark = pytest.mark.live

HOME, AWAY = "qhdc", "ndc"
RTO = 120
"""Seconds for which clients may not write as a site is lost."""


def moved(qhs: Run, drill: str, *words: str) -> dict[str, Any]:
    """The report of a drill that passed."""
    done = qhs("drill", drill, *words, "--json")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    report: dict[str, Any] = json.loads(done.stdout)["report"]
    parts = ", ".join(f"{one['name']} {one['seconds']:.1f} s" for one in report["phases"])
    MEASURED.append(f"drill {drill}: {report['written']['rows']} rows, without writes: {parts or 'never'}")
    return report


@pytest.fixture(scope="module")
def away(qhs: Run, second_up: WatchedUp) -> dict[str, Any]:
    """Writes are taken at the other centre, by a switchover."""
    return moved(qhs, "switchover")


def test_a_switchover_loses_no_row_and_keeps_nobody_from_writing_for_a_minute(away: dict[str, Any], qhs: Run) -> None:
    written = away["written"]
    assert (written["lost"], written["duplicate"], written["reordered"]) == ({}, {}, {})
    assert sum(one["seconds"] for one in away["phases"]) <= 60
    assert (active(qhs), away["primary"]) == (AWAY, AWAY)


def test_its_report_is_the_signers_to_the_last_byte(away: dict[str, Any], qhs: Run, twin: Twin, tmp_path: Path) -> None:
    file = held.folder(twin) / away["run"] / "report.json"
    assert qhs("drill", "verify", str(file)).returncode == 0
    text = file.read_bytes()
    place = text.index(b'"rows": ') + len(b'"rows": ')
    other = tmp_path / "report.json"
    other.write_bytes(text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :])
    assert qhs("drill", "verify", str(other)).returncode == 2


def test_what_is_declared_once_for_the_estate_is_put_right_where_writes_are_taken(
    away: dict[str, Any], qhs: Run, hosts: Hosts
) -> None:
    """Nothing is made anew there, as the declarations name the site where it began."""
    name = next(databases(ESTATE)).name
    told(hosts, [leader(hosts, AWAY)], f'alter role "{name}" connection limit 1')
    pulumi = ("shell", "--", "pulumi")
    stack = ("-s", "twin.replica", "--non-interactive")
    done = qhs(*pulumi, "up", "--refresh", "--yes", "--diff", *stack)
    assert (done.returncode, f"{name}-role" in done.stdout) == (0, True), done.stdout + done.stderr
    done = qhs(*pulumi, "preview", "--refresh", "--expect-no-changes", *stack)
    assert done.returncode == 0, done.stdout + done.stderr


def test_packets_have_the_fates_that_they_had_before_writes_moved(away: dict[str, Any], qhs: Run) -> None:
    """No flow leads to whichever site is active: those of both are there, and no others (T-F15)."""
    done = qhs("net", "probe", "--json")
    found = ProbeReport.model_validate_json(done.stdout)
    assert (done.returncode, found.wrong, found.disagreements, found.missing) == (0, [], [], [])
    assert found.probed


def test_a_second_drill_and_another_one_half_way_are_refused_and_a_killed_one_is_gone_on_with(
    away: dict[str, Any], qhs: Run, twin: Twin
) -> None:
    env = {**os.environ, "QHS_TWIN": NAME}
    with subprocess.Popen([QHS, "drill", "failback"], env=env, stdout=subprocess.DEVNULL) as running:
        journal = _until(twin, running, "choose")
        beside = qhs("drill", "failback")
        running.send_signal(signal.SIGKILL)
    assert (beside.returncode, f"already running: pid {running.pid}" in beside.stderr) == (1, True)
    assert not journal.over
    other = qhs("drill", "switchover")
    assert (other.returncode, "`qhs drill failback` goes on with it" in other.stderr) == (1, True)
    assert qhs("drill", "status").returncode == 3
    report = moved(qhs, "failback")
    assert (report["resumed"], report["primary"], active(qhs)) == (1, HOME, HOME)


def test_as_the_active_centre_loses_its_power_the_other_takes_its_place_and_it_comes_back_as_a_copy(
    qhs: Run, second_up: WatchedUp
) -> None:
    """And both change places again, without anybody's hand (T-B03, T-B07)."""
    report = moved(qhs, "failover")
    parts = {one["name"]: one["seconds"] for one in report["phases"]}
    assert {"detect", "decide", "fence", "promote", "redirect", "first-write"} >= parts.keys() >= {"detect", "promote"}
    assert sum(parts.values()) <= RTO
    assert (report["written"]["lost"], report["primary"], active(qhs)) == ({}, AWAY, AWAY)
    assert moved(qhs, "failback")["primary"] == HOME


def test_three_faults_turn_drills_red_for_their_reasons_and_are_taken_out(qhs: Run, second_up: WatchedUp) -> None:
    """Three of those that there are; the last is a site that is not lost at all (T-B05)."""
    before = active(qhs)
    three = ("skipped-fence", "half-way", "not-lost")
    done = qhs("drill", "selftest", "--json", *(word for name in three for word in ("--only", name)))
    assert done.stdout, done.stderr[-3000:]
    tried = json.loads(done.stdout)["faults"]
    assert {one["fault"]: one["passed"] for one in tried} == dict.fromkeys(three, True), tried
    MEASURED.extend(f"drill selftest: {one['fault']}: {one['seconds']:.1f} s" for one in tried)
    assert (done.returncode, active(qhs)) == (0, before)


def test_a_copy_is_restored_to_a_point_at_random_and_to_the_same_one_again_while_people_write(
    away: dict[str, Any], qhs: Run, hosts: Hosts
) -> None:
    """Writes have moved: what they came from has its first copy since then made now."""
    first = leader(hosts, active(qhs))
    hosts.say("systemctl start qhs-database-backup-keys.service qhs-database-backup.service", [first])
    report = moved(qhs, "restore")
    assert report["objectives"] and all(one["met"] for one in report["objectives"])
    assert (report["primary"], report["written"]["lost"]) == (report["old"], {})
    facts = {one["name"]: one["evidence"][0]["facts"] for one in report["steps"]}
    assert facts["point"]["random"] and facts["contents"]["marks"] and facts["contents"]["faults"] == []
    assert facts["restore"]["bytes"] > 0
    again = moved(qhs, "restore", "--at", facts["point"]["at"])
    point = again["steps"][0]["evidence"][0]["facts"]
    assert (point["at"], point["random"]) == (facts["point"]["at"], False)
    MEASURED.append(f"drill restore: {facts['restore']['bytes'] >> 20} MiB, seconds {facts['restore']['seconds']}")


def test_the_copy_of_the_other_centre_serves_in_a_bubble_that_reaches_nothing_while_people_write(
    away: dict[str, Any], qhs: Run, hosts: Hosts
) -> None:
    """T-B01."""
    report = moved(qhs, "test")
    facts = {one["name"]: one["evidence"][0]["facts"] for one in report["steps"]}
    machine = facts["raise"]["machine"]
    assert (report["primary"], ESTATE.machines[machine].site) == (report["old"], report["new"])
    assert facts["raise"]["counted"] >= 1 and facts["serve"]["contents"]["faults"] == []
    assert facts["work"]["done"] == {name: asdict(one) for name, one in bubble.tenants(ESTATE, report["new"]).items()}
    assert facts["work"]["copied"].keys() == {*bubble.buckets(ESTATE, report["new"])}
    assert (facts["isolated"]["counted"], facts["isolated"]["refused"] > 0) == (0, True)
    assert (report["written"]["failed"], report["written"]["lost"]) == ({}, {})
    assert facts["lag"]["age"] <= 60
    left = hosts.say("ip -o link; sudo ls /var/lib/qhs-backup; sudo nft list tables", [machine])[machine]
    assert "bubble" not in left
    MEASURED.append(
        f"drill test: served after {facts['serve']['served_seconds']} s, {facts['isolated']['refused']} kept back"
    )


def _until(twin: Twin, running: subprocess.Popen[bytes], step: str) -> Journal:
    """The journal of a drill that has begun with a step."""
    while running.poll() is None:
        for folder in journals(held.folder(twin)).values():
            journal = Journal.read(folder)
            if not journal.over and step in {one.step for one in journal.events(Begun)}:
                return journal
        time.sleep(0.2)
    raise AssertionError(f"the drill ended without {step}")
