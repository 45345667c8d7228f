"""Roles, components and rules declare what they must: nothing is owned, built or judged without saying so."""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.rules import LIVE, REGISTRY
from qhs.inventory import roles
from stacks.components.declared import Declared
from stacks.model import load
from tests.meta.conftest import REPO

ROLES = sorted(path for path in (REPO / "roles").iterdir() if path.is_dir())
OWNED = {"files", "units", "users", "ports", "tables"}
DECLARATIONS = {"owner", "level", "serves"}


def read(path: Path) -> Any:
    assert path.is_file(), f"{path.relative_to(REPO)}: no such file; a role has one"
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_says_what_it_owns_of_every_kind(role: Path) -> None:
    owns = read(role / "owns.yml")
    assert owns.keys() - {"replaces"} == OWNED
    assert not {*owns.get("replaces", [])} & {one.name for one in ROLES}, "what is replaced is gone"
    assert any(owns.values()), "a role owns something"


def test_nothing_is_owned_twice() -> None:
    """A port on a machine: several roles serve TLS, each at an address of its own machine."""
    owns = {role.name: read(role / "owns.yml") for role in ROLES}
    owned = Counter(
        (kind, item["path"] if kind == "files" else item)
        for one in owns.values()
        for kind in OWNED - {"ports"}
        for item in one[kind]
    )
    owned += Counter(
        (machine, port)
        for machine, held in roles(load("twin")).items()
        for role in held
        for port in owns[role]["ports"]
    )
    assert [one for one, count in owned.items() if count > 1] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_has_one_interface(role: Path) -> None:
    """Defaults stand in the specification; the file that Ansible reads them from says the same."""
    options = read(role / "meta" / "argument_specs.yml")["argument_specs"]["main"].get("options", {})
    defaults = role / "defaults" / "main.yml"
    found = yaml.safe_load(defaults.read_text()) if defaults.exists() else None
    assert {name: option["default"] for name, option in options.items() if "default" in option} == (found or {})


def classes() -> list[tuple[Path, ast.ClassDef, set[str]]]:
    """Every class in `stacks` with the names of its bases."""
    found = []
    for path in sorted((REPO / "stacks").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found.append((path, node, {ast.unparse(base).rpartition(".")[2] for base in node.bases}))
    return found


def calls(node: ast.AST, method: str) -> list[ast.Call]:
    """The calls of a method in a piece of code."""
    found = [one for one in ast.walk(node) if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute)]
    return [one for one in found if isinstance(one.func, ast.Attribute) and one.func.attr == method]


def test_a_component_cannot_be_made_without_its_declarations() -> None:
    parameters = inspect.signature(Declared.__init__).parameters
    required = {name for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY and one.default is one.empty}
    assert required >= DECLARATIONS


def test_every_component_is_a_declared_one() -> None:
    assert [node.name for _, node, bases in classes() if "ComponentResource" in bases] == ["Declared"]
    assert [node.name for _, node, bases in classes() if "Declared" in bases]


def test_a_component_shows_the_policy_pack_all_that_it_was_given() -> None:
    """The pack sees outputs alone: what is not registered is not judged, and so refused."""
    registering = [(node, calls(node, "register_outputs")) for _, node, _ in classes()]
    ((declared, (registered,)),) = [(node, found) for node, found in registering if found]
    assert declared.name == "Declared", "a second call would replace the first"
    (made,) = calls(declared, "__init__")
    assert ast.unparse(made.args[2]) == ast.unparse(registered.args[0])


def test_every_rule_has_cases_and_every_case_a_rule() -> None:
    for folder, rules in (("cases", REGISTRY), ("live", LIVE)):
        cases = {path.stem for path in (REPO / "tests" / "policies" / folder).glob("C-*.yaml")}
        assert cases == {rule.control for rule in rules}
