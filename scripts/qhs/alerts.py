"""The alert rules of all roles, found beside them: `roles/*/alerts.yml`, each a rule file of Prometheus' own form."""

from __future__ import annotations

from pathlib import Path

import yaml

from qhs.folders import CLONE

ROLES = CLONE / "roles"


def files(roles: Path = ROLES) -> list[Path]:
    """Those that there are."""
    return sorted(roles.glob("*/alerts.yml"))


def collected(roles: Path = ROLES) -> str:
    """All of them as one rule file."""
    groups = [group for path in files(roles) for group in yaml.safe_load(path.read_text())["groups"]]
    return yaml.safe_dump({"groups": groups}, sort_keys=False, width=120)
