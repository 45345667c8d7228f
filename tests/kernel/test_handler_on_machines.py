"""The handler on machines that really run `qhs-ruleset`; what stands in for ssh enters their namespaces instead."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pulumi.provider.experimental import provider as api

from stacks.model import load
from stacks.model.rules import rulesets
from stacks.provider.__main__ import KINDS
from stacks.provider.base import QhsProvider
from stacks.provider.ruleset.handler import RulesetHandler
from stacks.provider.ruleset.nft import CHAINS, render
from stacks.provider.ruleset.resource import ruleset_inputs
from stacks.provider.settings import ProviderError, Settings
from stacks.provider.values import marshalled, plain
from tests.kernel.place import Place
from tests.twin.waiting import await_

ESTATE = load("twin")
PAIR = next(one for one in rulesets(ESTATE, "qhdc") if one.kind == "pair")
FIRST, SECOND = PAIR.members
KEY = f"qhdc/{PAIR.target}"
URN = f"urn:pulumi:twin.qhdc.network::qhs::qhs:network:Site$qhs:network:Ruleset::{PAIR.target}"
MOVED = URN.replace("Site$", "Site$qhs:network:Enforcement$")

SSH = """#!{python}
import json, os, sys
machine, words = sys.argv[-2:]
process, program = json.load(open({places!r}))[machine]
silent = json.load(open({silent!r})) == [machine, words.split()[0]]
if silent or not os.path.exists(f"/proc/{{process}}"):
    print("ssh: connect to host: No route to host", file=sys.stderr)
    sys.exit(255)
os.environ["SSH_ORIGINAL_COMMAND"] = words
os.execvp("nsenter", ["nsenter", f"--target={{process}}", "--net", "--mount", sys.executable, program])
"""


@pytest.fixture
def silent(tmp_path: Path) -> Path:
    """Names a member and the word of the API that it no longer answers."""
    path = tmp_path / "silent.json"
    path.write_text("[]")
    return path


@pytest.fixture
def machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: Path, request: pytest.FixtureRequest
) -> Iterator[dict[str, Place]]:
    """Both members of the pair, which undo what is not confirmed within 30 s, or as many as a test says."""
    found = {}
    for name in PAIR.members:
        (tmp_path / name).mkdir()
        found[name] = Place(tmp_path / name, getattr(request, "param", 30))
    (tmp_path / "bin").mkdir()
    ssh, places = tmp_path / "bin" / "ssh", tmp_path / "places.json"
    places.write_text(json.dumps({name: (one.init.pid, str(one.program)) for name, one in found.items()}))
    ssh.write_text(SSH.format(python=sys.executable, places=str(places), silent=str(silent)))
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    yield found
    for one in found.values():
        one.end()


@pytest.fixture
def config(tmp_path: Path, machines: dict[str, Place]) -> Path:
    return name_machines(tmp_path / "config", *machines)


@pytest.fixture
def provider(config: Path) -> QhsProvider:
    own = QhsProvider(KINDS)
    asyncio.run(own.configure(api.ConfigureRequest({}, marshalled({"sshConfig": str(config)}), True, True)))
    return own


def name_machines(config: Path, *names: str) -> Path:
    """As `qhs` writes it: the names stand in a file that is included."""
    config.with_name("names").write_text("Host *\n  User x\n" + "".join(f"Host {name}\n" for name in names))
    config.write_text(f"Host *\n  User qhs-ruleset\nInclude {config.with_name('names')}\n")
    return config


def given(**change: Any) -> dict[str, Any]:
    inputs = ruleset_inputs(PAIR, ESTATE.catalogue.flows, owner="vpqh-attt", level=3, serves=["S-010"])
    return RulesetHandler(Settings()).check({**inputs, **change}).inputs


def create(provider: QhsProvider, urn: str = URN, **change: Any) -> dict[str, Any]:
    """Returns the state that the engine would keep."""
    answer = asyncio.run(provider.create(api.CreateRequest(urn, marshalled(given(**change)), 0, preview=False)))
    return plain(answer.properties or {})


def delete(provider: QhsProvider, state: dict[str, Any], urn: str = URN) -> None:
    asyncio.run(provider.delete(api.DeleteRequest(urn, KEY, marshalled(state), 0)))


def read(provider: QhsProvider, state: dict[str, Any], urn: str = URN) -> api.ReadResponse:
    request = api.ReadRequest(urn, KEY, marshalled(state), marshalled(given()))
    return asyncio.run(provider.read(request))


def test_what_was_written_reads_back_and_is_taken_away_but_for_its_guards(
    provider: QhsProvider, machines: dict[str, Place]
) -> None:
    state = create(provider)
    assert plain(read(provider, state).properties or {}) == state
    delete(provider, state)
    for machine in machines.values():
        assert machine.names()
        assert all(name.startswith("guard:") for name in machine.names())


def test_a_component_that_moved_does_not_take_its_successor_with_it(
    provider: QhsProvider, machines: dict[str, Place]
) -> None:
    """The engine makes the new one before it deletes the old one, also in a later run that refreshed both."""
    old = create(provider)
    create(provider, MOVED)
    before = {name: one.names() for name, one in machines.items()}
    delete(provider, old)
    delete(provider, plain(read(provider, old).properties or {}))
    assert {name: one.names() for name, one in machines.items()} == before
    assert "app-to-postgres" in before[FIRST]


def test_another_target_takes_over_only_the_members_that_it_has(
    provider: QhsProvider, machines: dict[str, Place]
) -> None:
    old = create(provider)
    create(provider, target="qhdc-other", members=[FIRST])
    delete(provider, old)
    assert "app-to-postgres" in machines[FIRST].names()
    assert "app-to-postgres" not in machines[SECOND].names()


def test_a_machine_that_is_no_longer_named_is_gone(
    provider: QhsProvider, config: Path, machines: dict[str, Place]
) -> None:
    state = create(provider)
    machines[SECOND].end()
    name_machines(config, FIRST)
    assert plain(read(provider, state).properties or {})["members"] == [FIRST]
    machines[FIRST].end()
    name_machines(config, "somebody-else")
    assert not read(provider, state).resource_id
    delete(provider, state)


def test_a_configuration_without_any_machine_is_an_error_and_not_an_empty_estate(
    provider: QhsProvider, config: Path
) -> None:
    state = create(provider)
    name_machines(config)
    for act in (read, delete):
        with pytest.raises(ProviderError, match="found no machine, wanted"):
            act(provider, state)


def test_list_shows_what_stands_and_whose_it_is(
    provider: QhsProvider, config: Path, machines: dict[str, Place]
) -> None:
    handler = RulesetHandler(Settings(config))
    assert {(one.key, one.urn) for one in handler.list()} == {(FIRST, None), (SECOND, None)}
    state = create(provider)
    (pair,) = handler.list()
    assert (pair.key, pair.urn) == (KEY, URN)
    assert pair.properties["members"] == [FIRST, SECOND]
    assert pair.properties["confirmed"] == state["confirmed"]
    # What nobody declares any more stands as long as it stands.
    create(provider, MOVED, members=[SECOND])
    assert {(one.key, one.urn, *one.properties["members"]) for one in handler.list()} == {
        (KEY, URN, FIRST),
        (KEY, MOVED, SECOND),
    }


def test_list_does_not_pass_over_a_machine_that_does_not_answer(config: Path, machines: dict[str, Place]) -> None:
    machines[SECOND].end()
    with pytest.raises(ProviderError, match=f"^{SECOND}"):
        RulesetHandler(Settings(config)).list()


@pytest.fixture
def alone(machines: dict[str, Place]) -> Place:
    """The first member; the other one is off."""
    machines[SECOND].end()
    return machines[FIRST]


def test_a_pair_with_a_member_off_is_refused_before_anything_is_written(provider: QhsProvider, alone: Place) -> None:
    with pytest.raises(ProviderError, match=f"{SECOND} cannot be reached"):
        create(provider)
    assert alone.names() == []


def test_a_degraded_pair_is_written_where_it_answers_and_the_next_plan_shows_it(
    provider: QhsProvider, alone: Place
) -> None:
    state = create(provider, degraded={"until": later(hours=1), "reason": "its power supply burnt"})
    assert "app-to-postgres" in alone.names()
    assert plain(read(provider, state).inputs or {})["members"] == [FIRST, f"{SECOND} (does not answer)"]


def test_a_switch_that_has_expired_is_off(provider: QhsProvider, alone: Place) -> None:
    with pytest.raises(ProviderError, match=f"{SECOND} cannot be reached"):
        create(provider, degraded={"until": later(seconds=-1), "reason": "its power supply burnt"})
    assert alone.names() == []


def test_a_degraded_pair_of_which_nobody_answers_or_one_refuses_is_not_written(
    provider: QhsProvider, machines: dict[str, Place]
) -> None:
    degraded = {"until": later(hours=1), "reason": "its power supply burnt"}
    machines[SECOND].program.write_text("print('no JSON')")
    with pytest.raises(ProviderError, match="wanted the JSON"):
        create(provider, degraded=degraded)
    assert machines[FIRST].names() == []
    for machine in machines.values():
        machine.end()
    with pytest.raises(ProviderError, match=f"(?s){FIRST} cannot be reached.*{SECOND} cannot be reached"):
        create(provider, degraded=degraded)


@pytest.mark.parametrize("machines", [10], indirect=True)
@pytest.mark.parametrize("word", ["apply", "confirm"])
def test_a_member_that_stops_answering_half_way_leaves_whole_rulesets_alone(
    provider: QhsProvider, machines: dict[str, Place], silent: Path, word: str
) -> None:
    create(provider)
    whole = machines[FIRST].names()
    flows = {name: flow for name, flow in given()["flows"].items() if name != "app-to-postgres"}
    silent.write_text(json.dumps([SECOND, word]))
    with pytest.raises(ProviderError, match=f"{SECOND} cannot be reached"):
        create(provider, flows=flows)
    seen = {one.table() for one in machines.values()}
    await_(lambda: machines[SECOND].names() == whole)
    await_(lambda: (machines[FIRST].names() == whole) == (word == "apply"))
    assert all(table.count("policy drop") == len(CHAINS) and "guard:management" in table for table in seen)
    silent.write_text("[]")
    create(provider, flows=flows)
    assert not any("app-to-postgres" in one.names() for one in machines.values())


@pytest.mark.parametrize("machines", [4], indirect=True)
def test_what_an_engine_that_died_has_left_unconfirmed_holds_up_the_next_one_and_does_not_stop_it(
    provider: QhsProvider, machines: dict[str, Place]
) -> None:
    machines[SECOND].keep(render(PAIR.guards, {}))
    machines[SECOND].apply(render(PAIR.guards, PAIR.flows))
    state = create(provider)
    assert plain(read(provider, state).properties or {}) == state


def later(**time: float) -> str:
    return (datetime.now(UTC) + timedelta(**time)).isoformat()
