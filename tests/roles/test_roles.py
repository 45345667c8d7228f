"""Every role is a contract: arguments first, and what it owns written down once and owned by nobody else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, meta

ROLES = sorted(path.parent for path in (Path(__file__).parents[2] / "roles").glob("*/tasks"))
BUILT_IN = "ansible.builtin."
# Only qhs_tree writes files, those of owns.yml; a unit is checked against it below.
# qhs_pki_sign runs on the operator's machine alone.
MODULES = {"qhs_tree", "qhs_pki_sign"} | {
    BUILT_IN + name for name in ("assert", "command", "import_tasks", "include_tasks", "systemd_service")
}
PROGRAMS = (
    "qhs-pki/qhs_pki_authority.py",
    "qhs-hsm/qhs_unseal.py",
    "qhs-openbao/qhs_openbao.py",
    "qhs-etcd/qhs_etcd.py",
    "qhs-database/qhs_database.py",
    "qhs-active-names/qhs_active_names.py",
    "qhs-lease/qhs_lease.py",
    "qhs-lease-guard/qhs_lease_guard.py",
    "qhs-object-sync/qhs_object_sync.py",
)
# What a role may run: each only reads, or acts on files that the role owns.
COMMANDS = (
    *(f"/usr/local/lib/{one} " for one in PROGRAMS),
    "/usr/local/sbin/qhs-pki ",
    "/usr/lib/systemd/systemd-sysctl ",
    "cat /run/qhs-gateways",
    "kdig ",
    "ssh-keygen -q -k -f /etc/ssh/qhs-revoked.krl ",
    "sysctl ",
)
READING = (
    *(f"/usr/local/lib/{one} check" for one in PROGRAMS),
    "/usr/local/sbin/qhs-pki check ",
    "sysctl {{ ",
)
SHARED_UNITS = {"ssh.service"}  # the image's own; a role may have it read its configuration again
KEYWORDS = {
    "name", "when", "register", "changed_when", "failed_when", "check_mode",
    "until", "retries", "delay", "vars", "no_log", "delegate_to", "loop", "throttle",
}  # fmt: skip
ANSIBLE = {"inventory_hostname", "hostvars", "ansible_check_mode", "role_path"}


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def owned(role: Path) -> list[dict[str, str]]:
    files: list[dict[str, str]] = read(role / "owns.yml").get("files", [])
    return files


def tasks(role: Path) -> list[dict[str, Any]]:
    """All that Ansible would run of a role, wherever in it."""
    files = [path for folder in ("tasks", "handlers") for path in sorted((role / folder).rglob("*.y*ml"))]
    return [task for path in files for task in read(path)]


def breaches(found: list[dict[str, Any]]) -> list[str]:
    """The tasks that could touch what owns.yml does not list. A keyword that is not ours may hide more (`block`)."""
    return [
        task["name"] for task in found if task.keys() - MODULES - KEYWORDS or not command(task).startswith(COMMANDS)
    ]


def command(task: dict[str, Any]) -> str:
    """What a task runs, in a form that says where one word ends; nothing else is known of its arguments."""
    said = task.get("ansible.builtin.command", COMMANDS[0])
    return str(said["cmd"] if isinstance(said, dict) and said.keys() == {"cmd", "stdin"} else said)


def source(role: Path, file: dict[str, str]) -> Path:
    return role / "files" / file["from"] if "from" in file else role / "templates" / f"{file['path'].lstrip('/')}.j2"


def test_there_are_roles() -> None:
    assert {"ruleset", "firewall"} <= {role.name for role in ROLES}


def test_no_two_roles_have_a_module_of_one_name() -> None:
    """A program that looks in the folders of several roles would get whichever comes first."""
    names = [path.name for role in ROLES for path in (role / "files").glob("*.py")]
    assert sorted(names) == sorted(set(names))


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
def test_every_variable_of_a_template_is_an_argument_or_a_constant(role: Path) -> None:
    arguments = set(read(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"])
    constants = role / "vars" / "main.yml"
    arguments |= set(read(constants)) if constants.exists() else set()
    for template in (role / "templates").rglob("*.j2"):
        used = meta.find_undeclared_variables(Environment(autoescape=True).parse(template.read_text()))
        assert used - ANSIBLE - {"namespace"} <= arguments, template


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_argument_is_used_beyond_its_check(role: Path) -> None:
    """What a template lost would else be asked for, checked and thrown away."""
    arguments = set(read(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"])
    files = [role / "owns.yml", *(role / "templates").rglob("*.j2"), *(role / "vars").glob("*.yml")]
    files += [path for path in (role / "tasks").glob("*.yml") if path.name != "precheck.yml"]
    said = "\n".join(path.read_text() for path in files)
    assert {one for one in arguments if not re.search(rf"\b{one}\b", said)} == set()


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_it_has_a_precheck_and_a_configure_and_acts_only_where_it_must(role: Path) -> None:
    """Each task costs its share of a second run, on every machine."""
    steps = [task[BUILT_IN + "import_tasks"] for task in read(role / "tasks" / "main.yml")]
    assert steps == ["precheck.yml", "configure.yml"]
    always = [task for step in steps for task in read(role / "tasks" / step)]
    assert len(always) <= 4
    assert always[-1][BUILT_IN + "include_tasks"] == "act.yml"
    assert "_tree.due" in always[-1]["when"]
    assert read(role / "tasks" / "act.yml")[-1]["qhs_tree"] == {"acted": True}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_units_and_users_that_it_makes_are_its_own(role: Path) -> None:
    own = read(role / "owns.yml")
    units = {task[BUILT_IN + "systemd_service"]["name"] for task in tasks(role) if BUILT_IN + "systemd_service" in task}
    assert units - SHARED_UNITS == set(own["units"])
    made = [path.read_text() for path in (role / "templates" / "etc" / "sysusers.d").glob("*")]
    assert set(re.findall(r"^u (\S+)", "\n".join(made), re.MULTILINE)) == set(own["users"])


@pytest.mark.parametrize("role", [one for one in ROLES if (one / "holds.yml").exists()], ids=lambda role: role.name)
def test_what_it_looks_at_beside_is_read_by_commands_that_only_read(role: Path) -> None:
    """A look and check mode run them too."""
    for one in read(role / "holds.yml"):
        assert one.keys() <= {"command", "says"}
        assert one["command"].startswith(READING), one


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_it_touches_nothing_but_what_it_owns(role: Path) -> None:
    assert breaches(tasks(role)) == []


@pytest.mark.parametrize(
    "task",
    [
        {"ansible.builtin.copy": {"dest": "/etc/motd", "content": "x"}},
        {"ansible.builtin.template": {"dest": "/etc/motd", "src": "x.j2"}},
        {"ansible.builtin.lineinfile": {"path": "/etc/motd", "line": "x"}},
        {"ansible.builtin.shell": "ip -json address >/etc/motd"},
        {"ansible.builtin.command": "tee /etc/motd"},
        {"ansible.builtin.command": {"argv": ["tee", "/etc/motd"]}},
        {"ansible.builtin.command": {"cmd": "tee /etc/motd", "stdin": "x"}},
        {"ansible.builtin.command": {"cmd": "sysctl x", "stdin": "x", "removes": "y"}},
        {"command": "tee /etc/motd"},
        {"block": [{"ansible.builtin.copy": {"dest": "/etc/motd", "content": "x"}}]},
    ],
)
def test_a_task_that_could_write_another_file_is_a_breach(task: dict[str, Any]) -> None:
    assert breaches([{"name": "x", **task}]) == ["x"]
