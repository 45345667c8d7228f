"""Names lead to the site that has the lease, by genuine servers: nobody leads to a site that lost it (S-040, T-B16)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import qhs_lease_guard

from qhs.twin import inside
from tests.kernel.certified import certify
from tests.kernel.clusters import Wires, wired
from tests.kernel.leases import ADDRESSES, MEMBERS, choose, leased, stands
from tests.kernel.name_servers import DOMAIN, FOLLOWS, REFUSED, NameServer, named
from tests.pace import Pace
from tests.twin.waiting import await_

SECONDS = 9
GOOD = 6
"""Seconds for which the word of a majority is good; as in the estate, less than the lease."""
TTL = 5


class Renewing:
    """The databases of one site, or of none: they renew at whichever member answers."""

    def __init__(self, own: Path, folder: Path, wires: Wires) -> None:
        self.site = ""
        self._own, self._folder, self._wires = own, folder, wires
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.5):
            if self.site:
                self._renew(f"{self.site}-db1")

    def _renew(self, who: str) -> None:
        qhs_lease_guard.TLS = self._folder / who
        if not qhs_lease_guard.TLS.exists():
            certify(qhs_lease_guard.TLS, self._own, who, ADDRESSES[who])
        for door in ("ndc-infra1", "hall-infra1", "qhdc-infra1"):
            try:
                inside.call(self._wires.networks[who], partial(qhs_lease_guard.ask, MEMBERS[door]))
            except OSError:
                continue
            return


@pytest.fixture(scope="module")
def wires() -> Iterator[Wires]:
    with wired(ADDRESSES) as found:
        yield found


@pytest.fixture(scope="module")
def sites(own: Path, wires: Wires, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, NameServer]]:
    with leased(own, wires, tmp_path_factory.mktemp("members"), SECONDS) as members, named(members, GOOD) as found:
        yield found


@pytest.fixture
def renewing(own: Path, wires: Wires, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Renewing]:
    monkeypatch.setattr(qhs_lease_guard, "TLS", tmp_path)
    one = Renewing(own, tmp_path, wires)
    thread = threading.Thread(target=one.run)
    thread.start()
    yield one
    one.over.set()
    thread.join()


def resolve(sites: dict[str, NameServer], *names: str) -> set[str]:
    """What the resolvers of these sites say; of all where none is named."""
    return {sites[one].resolves() for one in names or sites}


def have_chosen(sites: dict[str, NameServer], site: str) -> None:
    """As soon as the members agree on who leads them, which those that were cut off do not at once."""
    member = sites["hall"].member
    await_(lambda: stands(member).get("active") is not None, 30)
    # Whoever renews first has its own site chosen where none was.
    if chosen := str(stands(member)["chosen"]):
        choose(member, site, chosen)


def seconds_until(what: Callable[[], bool]) -> float:
    began = time.monotonic()
    await_(what, 60)
    return time.monotonic() - began


@pytest.fixture
def with_qhdc(sites: dict[str, NameServer], renewing: Renewing) -> Renewing:
    """The lease is there, and every site knows it."""
    have_chosen(sites, "qhdc")
    renewing.site = "qhdc"
    await_(lambda: stands(sites["hall"].member)["active"] == "qhdc", 30)
    await_(lambda: resolve(sites) == {sites["qhdc"].leads}, 60)
    return renewing


def test_while_no_site_has_the_lease_nobody_answers(sites: dict[str, NameServer]) -> None:
    assert stands(sites["hall"].member)["active"] == ""
    assert [sites[one].answers() for one in ("qhdc", "ndc")] == [REFUSED, REFUSED]
    assert resolve(sites) == {REFUSED}
    for one in ("qhdc", "ndc"):
        assert sites[one].member.runs(f"/{FOLLOWS}", "check") == (0, "")


def test_every_site_is_led_to_the_one_that_has_it(sites: dict[str, NameServer], with_qhdc: Renewing) -> None:
    assert sites["qhdc"].answers() == f"postgres.qhdc.{DOMAIN}."
    assert sites["ndc"].answers() == REFUSED
    assert sites["hall"].answers() == "NOERROR", "it knows who might answer, and no more"
    assert all(one.seconds() <= TTL for one in sites.values())
    assert sites["hall"].resolves(f"khac.svc.{DOMAIN}") == "NXDOMAIN"


def test_names_move_with_the_lease(sites: dict[str, NameServer], with_qhdc: Renewing) -> None:
    have_chosen(sites, "ndc")
    with_qhdc.site = "ndc"
    pace, told, ends = Pace(), set[tuple[str, str]](), time.monotonic() + 60
    while stands(sites["hall"].member)["active"] != "ndc":
        assert time.monotonic() < ends
        told.add((sites["qhdc"].answers(), sites["ndc"].answers()))
    took = seconds_until(lambda: resolve(sites) == {sites["ndc"].leads})
    print(f"every resolver follows {took:.1f} s after the lease has moved")
    assert took < pace.limit(TTL + 10)
    assert sites["qhdc"].answers() == REFUSED
    assert not [one for one in told if REFUSED not in one], "one site answers, or none"


def test_a_site_that_is_cut_off_refuses_and_the_others_follow_without_it(
    sites: dict[str, NameServer], with_qhdc: Renewing, wires: Wires
) -> None:
    wires.cut("qhdc-infra1")
    try:
        pace = Pace()
        lost = seconds_until(lambda: sites["qhdc"].answers() == REFUSED)
        assert lost < pace.limit(GOOD + 5)
        await_(lambda: sites["qhdc"].resolves() == REFUSED, TTL + 10)
        have_chosen(sites, "ndc")
        with_qhdc.site = "ndc"
        await_(lambda: stands(sites["hall"].member).get("active") == "ndc", 60)
        took = seconds_until(lambda: resolve(sites, "ndc", "hall") == {sites["ndc"].leads})
        print(f"refused {lost:.1f} s after the cut; resolvers follow {took:.1f} s after the lease has moved")
        assert took < pace.limit(TTL + 10)
    finally:
        wires.heal("qhdc-infra1")
    took = seconds_until(lambda: resolve(sites) == {sites["ndc"].leads})
    print(f"healed, the site's own resolver follows within {took:.1f} s")
    assert sites["qhdc"].answers() == REFUSED


def test_one_that_was_away_is_believed_again_at_once(
    sites: dict[str, NameServer], with_qhdc: Renewing, wires: Wires
) -> None:
    """What resolvers remember of servers that did not answer is soon over."""
    wires.cut("ndc-infra1", "qhdc-infra1")
    try:
        await_(lambda: sites["hall"].resolves() == REFUSED, TTL + 10)
        for _ in range(5):
            sites["hall"].resolves()
    finally:
        wires.heal("ndc-infra1", "qhdc-infra1")
    await_(lambda: sites["qhdc"].answers() == f"postgres.qhdc.{DOMAIN}.", 60)
    pace = Pace()
    took = seconds_until(lambda: sites["hall"].resolves() == sites["qhdc"].leads)
    print(f"after both were away: {took:.1f} s")
    assert took < pace.limit(TTL + 10)


def test_who_answers_without_looking_at_the_lease_is_stopped_and_named(
    sites: dict[str, NameServer], with_qhdc: Renewing
) -> None:
    one = sites["qhdc"]
    one.end_following()
    assert one.answers() == REFUSED
    code, said = one.member.runs(f"/{FOLLOWS}", "check")
    assert (code, said) == (2, "the authority refuses svc.qhs.internal, and qhdc has the lease")
    (one.member.root / "var/lib/prometheus/node-exporter").mkdir(parents=True, exist_ok=True)
    assert one.member.runs(f"/{FOLLOWS}", "report") == (0, "")
    assert (one.member.root / "var/lib/prometheus/node-exporter/qhs_active_names.prom").read_text() == (
        "qhs_active_names_wrong 1\n"
    )
    one.end_authority()
    one.begin_authority()
    await_(lambda: one.answers(f"postgres.qhdc.{DOMAIN}") == "NOERROR", 30)
    assert one.answers() == REFUSED, "begun anew it knows of no lease"
    one.follow()
    await_(lambda: one.answers() == f"postgres.qhdc.{DOMAIN}.", 30)
    one.end_authority()
    one.begin_authority()
    await_(lambda: one.answers() == f"postgres.qhdc.{DOMAIN}.", 30)
    assert one.member.runs(f"/{FOLLOWS}", "check") == (0, "")
