"""Which machines `qhs up` has configured: none of a site where a look finds all as it was left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from qhs import ansible, up
from qhs.progress import silent
from qhs.twin.names import Twin
from stacks.model import Estate


@pytest.mark.parametrize(
    ("other", "drifted", "played"),
    [
        (set(), set(), set()),
        (set(), {"ndc-app1"}, {"ndc"}),
        ({"hall-fw1"}, set(), {"hall"}),
        ({"hall-fw1"}, {"ndc-app1"}, {"hall", "ndc"}),
    ],
    ids=["all as left", "one drifted", "one new", "both"],
)
def test_a_site_is_configured_whole_or_not_at_all(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, other: set[str], drifted: set[str], played: set[str]
) -> None:
    looked_at: set[str] = set()

    def look(_twin: Twin, _estate: Estate, described: Mapping[str, str], _progress: object) -> set[str]:
        looked_at.update(described)
        return set(drifted)

    def play(*arguments: Any, described: Mapping[str, str], booted: set[str]) -> dict[str, int]:
        assert arguments[3] <= described.keys()
        assert booted == {"hall-fw2"}
        return dict.fromkeys(arguments[3], 1)

    monkeypatch.setattr(up, "look", look)
    monkeypatch.setattr(up.ansible, "play", play)
    report = up.Report("twin")
    machines = dict.fromkeys(estate.machines, "digest")
    up._configure(report, estate, Twin("one"), silent, machines, same=machines.keys() - other, booted={"hall-fw2"})
    here = {name for name, machine in estate.machines.items() if machine.site in played}
    assert {name for name, changed in report.configured.items() if changed} == here
    assert report.configured.keys() == estate.machines.keys()
    assert looked_at == {
        name for name, one in estate.machines.items() if one.site not in {estate.machines[it].site for it in other}
    }


@pytest.mark.parametrize(("booted", "at_once"), [({"hall-fw1", "hall-fw2"}, "100%"), ({"hall-fw2"}, "1"), (set(), "1")])
def test_members_of_a_pair_are_changed_at_once_only_where_neither_serves_yet(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, booted: set[str], at_once: str
) -> None:
    given: list[str] = []

    def play_site(*arguments: Any) -> dict[str, int]:
        given.append(arguments[4]["QHS_PAIR_AT_ONCE"])
        return {}

    monkeypatch.setattr(ansible, "variables", lambda _twin: dict(ansible.IN_TURN))
    monkeypatch.setattr(ansible, "_play", play_site)
    ansible.play(Twin("one"), estate, "firewalls.yml", {"hall-fw1", "hall-fw2"}, silent, booted=booted)
    assert given == [at_once]


@pytest.mark.parametrize(
    ("together", "runs"), [(False, [{"hall-infra1"}, {"qhdc-infra1"}]), (True, [{"hall-infra1", "qhdc-infra1"}])]
)
def test_what_sites_agree_on_is_played_on_all_of_them_in_one_run(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, runs: list[set[str]], *, together: bool
) -> None:
    given: list[set[str]] = []

    def play(*arguments: Any) -> dict[str, int]:
        given.append(arguments[3])
        return dict.fromkeys(arguments[3], 1)

    monkeypatch.setattr(ansible, "variables", lambda _twin: dict(ansible.IN_TURN))
    monkeypatch.setattr(ansible, "_play", play)
    machines = {"hall-infra1", "qhdc-infra1"}
    done = ansible.play(Twin("one"), estate, "lease.yml", machines, silent, together=together)
    assert done == dict.fromkeys(machines, 1)
    assert sorted(given, key=sorted) == runs
