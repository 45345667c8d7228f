"""The kind `qhs:network:Ruleset`: what it refuses, how it normalises, which differences a preview shows."""

from __future__ import annotations

import asyncio
import copy
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pulumi.provider.experimental import provider as api
from pulumi.provider.experimental.property_value import PropertyValue

from stacks.model import load
from stacks.model.rules import rulesets
from stacks.provider.__main__ import KINDS
from stacks.provider.base import QhsProvider
from stacks.provider.ruleset.handler import RulesetHandler
from stacks.provider.ruleset.resource import ruleset_inputs
from stacks.provider.settings import ProviderError, Settings
from stacks.provider.values import UNKNOWN, has_unknown, marshalled, plain

ESTATE = load("twin")
PAIR = next(one for one in rulesets(ESTATE, "qhdc") if one.kind == "pair")
URN = f"urn:pulumi:twin.qhdc.network::qhs::qhs:network:Site$qhs:network:Ruleset::{PAIR.target}"
FLOW = "app-to-postgres"

type Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(autouse=True)
def _no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither check nor diff connects to anything."""

    def refuse(*_: object) -> None:
        raise AssertionError("connects")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr("subprocess.run", refuse)


def given(change: Change | None = None) -> dict[str, Any]:
    inputs: dict[str, Any] = copy.deepcopy(
        dict(ruleset_inputs(PAIR, ESTATE.catalogue.flows, owner="vpqh-attt", level=3, serves=["S-010"]))
    )
    if change:
        change(inputs)
    return inputs


def checked(change: Change | None = None) -> dict[str, Any]:
    found = RulesetHandler(Settings()).check(given(change))
    assert found.failures == {}
    return found.inputs


def diff(old: dict[str, Any], new: dict[str, Any]) -> api.DiffResponse:
    handler = RulesetHandler(Settings())
    state = {**handler.outputs(URN, checked()), **old}
    request = api.DiffRequest(URN, f"qhdc/{PAIR.target}", marshalled(state), marshalled(new), [])
    return asyncio.run(QhsProvider(KINDS).diff(request))


def with_rule(old: str, new: str) -> Change:
    """The first rule of a flow, with something in its line replaced."""

    def change(inputs: dict[str, Any]) -> None:
        rules = inputs["flows"][FLOW]["rules"]
        assert old in rules[0]
        rules[0] = rules[0].replace(old, new)

    return change


def test_derived_inputs_are_right_and_their_normal_form_is_stable() -> None:
    once = checked()
    assert RulesetHandler(Settings()).check(once).inputs == once


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        (with_rule("ports=5432", "ports=70000"), f"flows.{FLOW}.rules.0", "70000 is no port"),
        (with_rule("ports=5432", "ports=443-80"), f"flows.{FLOW}.rules.0", "443-80 is no port"),
        (with_rule("protocol=tcp", "protocol=esp"), f"flows.{FLOW}.rules.0", "esp has no ports"),
        (with_rule("family=ip ", "family=ip6 "), f"flows.{FLOW}.rules.0", "family 'ip6'"),
        (with_rule("/20", "/8"), f"flows.{FLOW}.rules.0", "host bits"),
        (with_rule("iif=app", 'iif=a"drop'), f"flows.{FLOW}.rules.0.iif", "pattern"),
        (with_rule("accept", "reject"), f"flows.{FLOW}.rules.0.verdict", "accept"),
        (with_rule("forward", "prerouting"), f"flows.{FLOW}.rules.0.chain", "forward"),
        (with_rule("accept", "raw=x accept"), f"flows.{FLOW}.rules.0", "raw"),
        (lambda i: i["flows"].update({"guard:x": i["flows"][FLOW]}), "flows.guard:x.[key]", "pattern"),
        (lambda i: i["flows"][FLOW].update(expires="2027-06-30"), f"flows.{FLOW}.expires", "time"),
        (lambda i: i["flows"][FLOW].update(rules=[]), f"flows.{FLOW}.rules", "at least 1"),
        (lambda i: i.update(members=[]), "members", "at least 1"),
        (lambda i: i.update(extra=1), "extra", "not permitted"),
        (lambda i: i.pop("owner"), "owner", "required"),
    ],
)
def test_what_cannot_be_right_is_refused_by_its_path(change: Change, path: str, said: str) -> None:
    failures = RulesetHandler(Settings()).check(given(change)).failures
    assert list(failures) == [path]
    assert said in failures[path]


def test_nothing_changed_is_no_difference() -> None:
    found = diff(checked(), checked())
    assert found.changes is False
    assert found.detailed_diff == {}


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        (with_rule("ports=5432", "ports=5433"), [f"flows.{FLOW}.rules"]),
        (lambda i: i["flows"][FLOW].update(owner="vpqh-cntt2"), [f"flows.{FLOW}.owner"]),
        (lambda i: i["flows"][FLOW].update(expires="2030-01-01T00:00:00+07:00"), [f"flows.{FLOW}.expires"]),
        (lambda i: i["flows"].pop(FLOW), [f"flows.{FLOW}"]),
        (lambda i: i["flows"].update(other=i["flows"][FLOW]), ["flows.other"]),
        (lambda i: i["members"].reverse(), ["members"]),
        (lambda i: i["guards"].pop(0), ["guards"]),
    ],
)
def test_a_change_is_shown_where_it_is_and_nowhere_else(change: Change, paths: list[str]) -> None:
    found = diff(checked(), checked(change))
    assert found.changes is True
    assert list(found.detailed_diff) == paths
    assert found.replaces == []


@pytest.mark.parametrize(
    ("output", "value"), [("foreign", ["set hosts"]), ("confirmed", ""), ("sequence", {"input": ["guard:tracked"]})]
)
def test_what_only_the_kernel_shows_is_a_difference_too(output: str, value: Any) -> None:
    found = diff({**checked(), output: value}, checked())
    assert found.changes is True
    assert all(path.partition(".")[0] == output for path in found.detailed_diff)


def test_another_target_is_another_resource() -> None:
    assert diff(checked(), checked(lambda i: i.update(target="qhdc-other"))).replaces == ["target"]


def test_a_value_that_a_preview_does_not_know_is_left_to_the_update() -> None:
    inputs = {**checked(), "owner": UNKNOWN}
    request = api.CheckRequest(URN, {}, marshalled(inputs), b"")
    answer = asyncio.run(QhsProvider(KINDS).check(request))
    assert not answer.failures
    assert answer.inputs is not None
    on_the_wire = PropertyValue.marshal_map(answer.inputs)
    found = plain(PropertyValue.unmarshal_map(on_the_wire))
    assert has_unknown(found.pop("owner"))
    assert found == {name: value for name, value in inputs.items() if name != "owner"}


def test_create_in_a_preview_shows_the_outputs_and_writes_nothing() -> None:
    request = api.CreateRequest(URN, marshalled(checked()), 0, preview=True)
    answer = asyncio.run(QhsProvider(KINDS).create(request))
    assert answer.resource_id == f"qhdc/{PAIR.target}"
    assert len(plain(answer.properties)["confirmed"]) == 64


@pytest.mark.parametrize("config", [None, Path("/nonexistent")])
def test_without_a_configuration_a_write_says_the_way_out(config: Path | None) -> None:
    with pytest.raises(ProviderError, match=r"qhs:sshConfig: found .*wanted .*Way out"):
        RulesetHandler(Settings(config)).write(URN, checked())


def test_a_kind_that_is_not_ours_is_named() -> None:
    request = api.CheckRequest("urn:pulumi:s::p::qhs:network:Other::x", {}, {}, b"")
    with pytest.raises(ProviderError, match="qhs:network:Other is no kind"):
        asyncio.run(QhsProvider(KINDS).check(request))
