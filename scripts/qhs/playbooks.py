"""Which role which playbook runs where."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from qhs.folders import CLONE

PLAYBOOKS = CLONE / "scripts" / "playbooks"


def groups_of(playbook: str) -> set[str]:
    """The groups of the inventory that a playbook plays on."""
    return {play["hosts"] for play in plays(playbook)}


def plays(playbook: str) -> Iterator[dict[str, Any]]:
    """Of a playbook and of those that it brings in."""
    for play in yaml.safe_load((PLAYBOOKS / playbook).read_text()):
        if imported := play.get("ansible.builtin.import_playbook"):
            yield from plays(imported)
        else:
            yield play


def runs_on(playbooks: Path = PLAYBOOKS) -> dict[str, list[str]]:
    """By role the groups of the inventory that a playbook runs it on."""
    found: dict[str, list[str]] = defaultdict(list)
    for playbook in sorted(playbooks.glob("*.yml")):
        for play in yaml.safe_load(playbook.read_text()):
            for role in play.get("roles", []):
                found[role["role"]].append(play["hosts"])
    return found
