"""`qhs docs`: the README of each role, written from what the role declares; a test fails on a hand edit of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from qhs.folders import CLONE
from qhs.playbooks import runs_on

ROLES = CLONE / "roles"
MADE = "<!-- Written by `qhs docs` from meta/argument_specs.yml, owns.yml and the playbooks: change those. -->\n"
EVERYBODY = {"all": "every machine"}


def documents(roles: Path = ROLES) -> dict[str, str]:
    """Every README by its path below `roles`."""
    where = runs_on()
    return {
        f"{role.name}/README.md": readme(role, where[role.name]) for role in sorted(roles.iterdir()) if role.is_dir()
    }


def readme(role: Path, hosts: list[str]) -> str:
    """What it does, on which machines, what it takes and what it owns there."""
    contract = _read(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]
    owns = _read(role / "owns.yml")
    parts = [
        f"# {role.name}: {_first_lower(contract['short_description'])}\n",
        MADE,
        *(f"{_text(one)}\n" for one in contract["description"]),
        f"Runs on {', '.join(EVERYBODY.get(one, f'`{one}`') for one in hosts)}.\n",
        "## Arguments",
        "| name | type | default | what |\n|---|---|---|---|",
        *_arguments(contract.get("options", {})),
        "\n## What it owns on a machine",
        "| file | owner | mode |\n|---|---|---|",
        *(f"| `{one['path']}` | {_owner(one)} | {one['mode']} |" for one in owns["files"]),
        "",
        *(
            f"{kind}: {', '.join(f'`{one}`' for one in owns[kind])}\n"
            for kind in owns
            if kind != "files" and owns[kind]
        ),
        *_holds(role / "holds.yml"),
        *_alerts(role / "alerts.yml"),
    ]
    return "\n".join(parts).rstrip("\n") + "\n"


def _arguments(options: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, one in options.items():
        kind = f"{one['type']} of {one['elements']}" if "elements" in one else one["type"]
        default = "defaults/main.yml" if "default" in one else "required" if one.get("required") else "optional"
        yield f"| `{prefix}{name}` | {kind} | {default} | {_text(one['description'])} |"
        yield from _arguments(one.get("options", {}), f"{prefix}{name}.")


def _holds(path: Path) -> Iterator[str]:
    """What each run looks at beside, where the role has any."""
    if path.exists():
        yield f"looked at, too: {', '.join(f'`{one["command"]}`' for one in _read(path))}\n"


def _alerts(path: Path) -> Iterator[str]:
    """The rules that the role ships, where it ships any."""
    if path.exists():
        yield "## What it has told\n\n| alert | severity | for | when |\n|---|---|---|---|"
        for rule in (rule for group in _read(path)["groups"] for rule in group["rules"]):
            when = _text(rule["expr"])
            yield f"| {rule['alert']} | {rule['labels']['severity']} | {rule.get('for', '-')} | `{when}` |"


def _owner(file: dict[str, str]) -> str:
    return f"{file.get('owner', 'root')}:{file.get('group', 'root')}"


def _text(said: str | list[str]) -> str:
    """Ansible's markup as Markdown's, in one line."""
    line = said if isinstance(said, str) else " ".join(said)
    return re.sub(r"\b[CV]\((.*?)\)", r"`\1`", " ".join(line.split())).replace("|", "\\|")


def _first_lower(said: str) -> str:
    return said[:1].lower() + said[1:]


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())
