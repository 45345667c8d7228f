"""Three genuine members at three sites: one site at a time has the lease, whoever is cut off (S-040)."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import qhs_lease_guard
import qhs_object_sync

from qhs.twin import inside
from tests.kernel.certified import certify
from tests.kernel.clusters import Member, Wires, wired
from tests.kernel.leases import ADDRESSES, DOOR, HOLDERS, MEMBERS, choose, leased, stands
from tests.twin.waiting import await_

SECONDS = 4

type Renew = Callable[[str, str], bool]
type Ask = Callable[..., qhs_lease_guard.Told]
type Release = Callable[[str, str], qhs_lease_guard.Told]


@pytest.fixture(scope="module")
def wires() -> Iterator[Wires]:
    with wired(ADDRESSES) as found:
        yield found


@pytest.fixture(scope="module")
def members(own: Path, wires: Wires, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Member]]:
    holders = HOLDERS | {"qhdc-db2": "qhdc"}
    with leased(own, wires, tmp_path_factory.mktemp("members"), SECONDS, holders) as found:
        yield found


@pytest.fixture
def ask(own: Path, wires: Wires, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """As a machine, at the member of a site."""

    def run(who: str, at: str, *what: str) -> qhs_lease_guard.Told:
        certify(tmp_path / who, own, who, "10.16.0.11")
        monkeypatch.setattr(qhs_lease_guard, "TLS", tmp_path / who)
        network = wires.networks.get(who, wires.networks["qhdc-db1"])
        return inside.call(network, partial(qhs_lease_guard.ask, MEMBERS[f"{at}-infra1"], *what))

    return run


@pytest.fixture
def renew(ask: Ask) -> Renew:
    """Whether its own site has the lease."""
    return lambda who, at: ask(who, at).held


@pytest.fixture
def release(ask: Ask) -> Release:
    """Where its log ends."""
    return lambda who, end: ask(who, "hall", "/release", end)


def test_the_site_that_begins_has_it_and_no_other(members: dict[str, Member], renew: Renew) -> None:
    assert not renew("ndc-db1", "ndc"), "nobody has it, and yet it is not for everybody to take"
    assert stands(members["hall-infra1"])["active"] == ""
    assert renew("qhdc-db1", "qhdc")
    assert renew("qhdc-db1", "hall"), "the same lease, wherever it is renewed"
    assert not renew("ndc-db1", "ndc")
    said = stands(members["hall-infra1"])
    assert (said["active"], said["chosen"], said["wrong"]) == ("qhdc", "qhdc", "")
    assert 0 < int(str(said["seconds"])) <= SECONDS


@pytest.fixture
def follower(own: Path, tmp_path: Path) -> Path:
    """The certificate of a machine with an object store, which follows the site that has it."""
    certify(tmp_path / "follower", own, "ndc-storage1", site="ndc")
    return tmp_path / "follower"


def test_who_only_has_to_know_which_site_has_it_is_told(
    members: dict[str, Member], wires: Wires, renew: Renew, follower: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qhs_object_sync, "TLS", follower)
    for at in MEMBERS.values():
        await_(lambda: attempt(renew, "qhdc-db1", "qhdc"), 20)
        found = inside.call(wires.networks["ndc-db1"], partial(qhs_object_sync.active, at))
        assert found == stands(members["hall-infra1"])["active"] == "qhdc"
    monkeypatch.setattr(qhs_lease_guard, "TLS", follower)
    with pytest.raises(OSError, match="403"):
        inside.call(wires.networks["ndc-db1"], partial(qhs_lease_guard.ask, MEMBERS["ndc-infra1"]))


def test_who_does_not_take_writes_renews_for_nobody(members: dict[str, Member], renew: Renew) -> None:
    with pytest.raises(OSError, match="403"):
        renew("qhdc-infra1", "qhdc")
    with pytest.raises(OSError, match="403"):
        renew("qhdc-db10", "qhdc")


def test_who_shows_no_certificate_is_not_heard(wires: Wires, members: dict[str, Member]) -> None:
    tls = members["hall-infra1"].root / "etc/qhs/tls/ca.crt"
    asked = ["openssl", "s_client", "-connect", f"{MEMBERS['qhdc-infra1']}:2378", "-CAfile", tls, "-quiet"]
    enter = ["nsenter", f"--net={wires.networks['qhdc-db1']}"]
    request = "POST /renew HTTP/1.0\r\n\r\n"
    said = subprocess.run([*enter, *asked], input=request, capture_output=True, text=True, check=False, timeout=20)
    assert "HTTP/" not in said.stdout
    assert "certificate required" in said.stderr


def test_a_site_without_its_member_renews_at_another(members: dict[str, Member], wires: Wires, renew: Renew) -> None:
    assert renew("qhdc-db1", "hall")
    wires.cut("qhdc-infra1")
    try:
        with pytest.raises(OSError, match=r"timed out|unreachable|No route"):
            renew("qhdc-db1", "qhdc")
        await_(lambda: attempt(renew, "qhdc-db1", "hall"), 10)
        assert "active" not in stands(members["qhdc-infra1"]), "alone it does not know"
    finally:
        wires.heal("qhdc-infra1")
    await_(lambda: attempt(renew, "qhdc-db1", "qhdc"), 20)


def attempt(renew: Renew, who: str, at: str) -> bool:
    """Nobody says so while those that are left agree on who leads them."""
    try:
        return renew(who, at)
    except OSError:
        return False


def test_without_a_majority_nobody_has_it_and_afterwards_the_chosen_one_has(
    members: dict[str, Member], wires: Wires, renew: Renew
) -> None:
    await_(lambda: attempt(renew, "qhdc-db1", "qhdc"), 20)
    wires.cut("ndc-infra1", "hall-infra1")
    try:
        # One that still thinks it leads may not vouch for others: whoever asks is told so, or nothing.
        for _ in range(8):
            assert not attempt(renew, "qhdc-db1", "qhdc")
    finally:
        wires.heal("ndc-infra1", "hall-infra1")
    await_(lambda: stands(members["hall-infra1"]).get("active") == "", 40)
    assert not attempt(renew, "ndc-db1", "ndc")
    await_(lambda: attempt(renew, "qhdc-db1", "qhdc"), 20)


def test_another_site_is_chosen_and_has_it_only_once_the_first_has_lost_it(
    members: dict[str, Member], renew: Renew
) -> None:
    await_(lambda: attempt(renew, "qhdc-db1", "qhdc"), 20)
    began = time.monotonic()
    choose(members["hall-infra1"], "ndc", "qhdc")
    assert not renew("qhdc-db1", "qhdc"), "it is not renewed any more"
    assert not renew("ndc-db1", "ndc"), "the first one goes on until its time is over"
    await_(lambda: renew("ndc-db1", "ndc"), 20)
    assert time.monotonic() - began >= SECONDS - 1
    assert not renew("qhdc-db1", "qhdc"), "and does not come back by itself"
    choose(members["hall-infra1"], "qhdc", "ndc")
    await_(lambda: renew("qhdc-db1", "qhdc"), 20)


def test_a_site_is_chosen_instead_of_the_one_that_is_chosen_alone(members: dict[str, Member]) -> None:
    hall = members["hall-infra1"]
    assert hall.runs(f"/{DOOR}", "choose", "ndc", "ndc") == (2, "qhdc is chosen, not ndc")
    assert hall.runs(f"/{DOOR}", "choose", "hall", "qhdc") == (2, "hall has no databases; wanted one of ndc, qhdc")
    assert stands(hall)["chosen"] == "qhdc"


def test_a_choice_is_taken_back_only_while_the_other_has_never_had_it(members: dict[str, Member], renew: Renew) -> None:
    """Whatever it wrote then, the first one has not: also where it has lost the lease again."""
    hall, back = members["hall-infra1"], (f"/{DOOR}", "take-back", "qhdc", "ndc")
    await_(lambda: attempt(renew, "qhdc-db1", "qhdc"), 20)
    choose(hall, "ndc", "qhdc")
    assert hall.runs(*back) == (0, "")
    assert hall.runs(*back) == (0, ""), "twice is as good as once"
    await_(lambda: attempt(renew, "qhdc-db1", "qhdc"), 20)
    choose(hall, "ndc", "qhdc")
    await_(lambda: renew("ndc-db1", "ndc"), 20)
    why = "ndc has had the lease since it was chosen, and may have written what qhdc has not"
    assert hall.runs(*back) == (2, why)
    await_(lambda: stands(hall).get("active") == "", 40)
    assert hall.runs(*back) == (2, why)
    choose(hall, "qhdc", "ndc")
    await_(lambda: attempt(renew, "qhdc-db1", "qhdc"), 20)


def test_a_site_gives_it_back_once_all_its_machines_have_and_says_where_its_log_ends(
    members: dict[str, Member], renew: Renew, release: Release
) -> None:
    await_(lambda: attempt(renew, "qhdc-db1", "qhdc"), 20)
    release("qhdc-db1", "0/30")
    assert renew("qhdc-db1", "qhdc"), "no other one is chosen"
    choose(members["hall-infra1"], "ndc", "qhdc")
    release("ndc-db1", "0/90")
    assert release("qhdc-db1", "0/3000028").end == ""
    assert not renew("ndc-db1", "ndc"), "the second machine may still write"
    assert release("qhdc-db2", "what it is not").end == "0/3000028"
    assert renew("ndc-db1", "ndc")
    assert release("qhdc-db1", "0/99").end == "0/3000028", "it is not theirs any more"
    assert renew("ndc-db1", "ndc")
    choose(members["hall-infra1"], "qhdc", "ndc")
    assert release("ndc-db1", "").end == "", "what was said before is forgotten"
    assert renew("qhdc-db1", "qhdc")
