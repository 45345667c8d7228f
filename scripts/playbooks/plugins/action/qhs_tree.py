"""Renders every file that a role owns and hands them to the machine in one module run.

The role's owns.yml says which files, with owner, group, mode and a check; their content lies under templates/ (with
`.j2`) or files/ at the same path as on the machine, or at `from` under files/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.template import Templar

DEFAULTS = {"owner": "root", "group": "root", "mode": "0644"}


class ActionModule(ActionBase):
    """`qhs_tree:`, without arguments."""

    _requires_connection = True
    _VALID_ARGS = frozenset[str]()

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Render on the controller, write on the machine."""
        variables = task_vars or {}
        result = super().run(tmp, variables)
        role = Path(variables["role_path"])
        owned = yaml.safe_load((role / "owns.yml").read_text())["files"]
        files = [
            {"path": path, "content": self._content(role, path, spec, variables), **DEFAULTS, **_attributes(spec)}
            for path, spec in owned.items()
        ]
        result.update(
            self._execute_module(module_name="qhs_tree_write", module_args={"files": files}, task_vars=variables)
        )
        return result

    def _content(self, role: Path, path: str, spec: dict[str, str], variables: dict[str, Any]) -> str:
        plain = role / "files" / spec.get("from", path.lstrip("/"))
        template = role / "templates" / f"{path.lstrip('/')}.j2"
        if plain.is_file():
            return plain.read_text()
        if not template.is_file():
            raise AnsibleActionFail(f"{role.name}/owns.yml lists {path}: found neither {plain} nor {template}")
        templar: Templar = self._templar.copy_with_new_env(searchpath=[str(template.parent)], available_variables=variables)
        return str(templar.template(_trusted(template.read_text())))


def _attributes(spec: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in spec.items() if name != "from"}
