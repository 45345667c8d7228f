"""Every role is a contract: arguments first, and what it owns written down once and owned by nobody else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, meta

ROLES = sorted(path.parent for path in (Path(__file__).parents[2] / "roles").glob("*/tasks"))
ANSIBLE = {"inventory_hostname", "hostvars", "ansible_check_mode", "role_path"}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def owned(role: Path) -> list[dict[str, str]]:
    files: list[dict[str, str]] = read(role / "owns.yml").get("files", [])
    return files


def source(role: Path, file: dict[str, str]) -> Path:
    return role / "files" / file["from"] if "from" in file else role / "templates" / f"{file['path'].lstrip('/')}.j2"


def test_there_are_roles() -> None:
    assert {"ruleset", "firewall"} <= {role.name for role in ROLES}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_it_owns_exactly_the_files_that_it_has(role: Path) -> None:
    wanted = {source(role, file) for file in owned(role)}
    found = {path for folder in ("files", "templates") for path in (role / folder).rglob("*") if path.is_file()}
    assert wanted == {path for path in found if "__pycache__" not in path.parts}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_its_modes_are_whole_and_none_is_for_everybody_to_write(role: Path) -> None:
    for file in owned(role):
        assert re.fullmatch(r"0[0-7]{3}", file["mode"]), file
        assert not int(file["mode"], 8) & 0o022, file


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_variable_of_a_template_is_an_argument(role: Path) -> None:
    arguments = set(read(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"])
    for template in (role / "templates").rglob("*.j2"):
        used = meta.find_undeclared_variables(Environment(autoescape=True).parse(template.read_text()))
        assert used - ANSIBLE - {"namespace"} <= arguments, template


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_it_has_a_precheck_a_configure_and_a_verify(role: Path) -> None:
    steps = [task["ansible.builtin.import_tasks"] for task in read(role / "tasks" / "main.yml")]
    assert steps == ["precheck.yml", "configure.yml", "verify.yml"]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_units_and_users_that_it_makes_are_its_own(role: Path) -> None:
    own = read(role / "owns.yml")
    tasks = read(role / "tasks" / "configure.yml")
    units = {
        task["ansible.builtin.systemd_service"]["name"] for task in tasks if "ansible.builtin.systemd_service" in task
    }
    users = {task["ansible.builtin.user"]["name"] for task in tasks if "ansible.builtin.user" in task}
    assert units == set(own.get("units", []))
    assert users == set(own.get("users", []))


@pytest.mark.parametrize("kind", ["files", "units", "users", "ports", "tables"])
def test_nothing_is_owned_twice(kind: str) -> None:
    every = [one["path"] if kind == "files" else one for role in ROLES for one in read(role / "owns.yml").get(kind, [])]
    assert len(every) == len(set(every))
