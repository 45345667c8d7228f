"""Renders every file that a role owns and hands them to the machine in one module run.

The role's owns.yml says which files, with owner, group, mode and a check; their content lies at the same path as on
the machine under templates/ (with `.j2`), or under files/ at `from`. Its holds.yml, where it has one, says which
commands tell that a state holds: by ending well or, where one has `says`, by that.

The result's `due` says that somebody has yet to act: from before the first file is written until
`qhs_tree: {acted: true}`, also over a run that was killed in between; where a unit of owns.yml does not run as it
should; and where a command of holds.yml tells that a state has lapsed. So a role that has nothing to do costs one
module run. In check mode nothing is due: what a run would do counts as a change, and `written`, `idle` and `lapsed`
name it, the last by what is there before the run. No result holds the content of a file but in the difference that
`--diff` asks for, and not there where owns.yml calls the file `secret`.

Roles that owns.yml says it `replaces` are not there any more: what their last run left on a machine is stopped and
taken away before anything is written, as it may hold a port of this role.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template

DEFAULTS = {"owner": "root", "group": "root", "mode": "0644"}
OVERRIDES = {"trim_blocks": True, "lstrip_blocks": True}


class ActionModule(ActionBase):
    """`qhs_tree:` writes; `qhs_tree: {acted: true}` says that what it wrote is in effect."""

    _VALID_ARGS = frozenset({"acted"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Render on the controller, write on the machine."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        role = Path(variables["role_path"])
        if self._task.args.get("acted"):
            return result | self._on_machine({"role": role.name, "acted": True}, variables)
        owns = yaml.safe_load((role / "owns.yml").read_text())
        files = [DEFAULTS | one | {"content": self._content(role, one, variables)} for one in owns["files"]]
        owned = {"role": role.name, "files": files, "units": owns["units"], "holds": self._holds(role)}
        owned["replaces"] = owns.get("replaces", [])
        owned["described"] = json.loads(os.environ.get("QHS_DESCRIBED", "{}")).get(variables["inventory_hostname"], "")
        return result | self._on_machine(owned, variables)

    def _on_machine(self, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        done: dict[str, Any] = self._execute_module(
            module_name="qhs_tree_write", module_args=arguments, task_vars=variables
        )
        done.pop("invocation", None)
        return done

    def _holds(self, role: Path) -> list[dict[str, str]]:
        path = role / "holds.yml"
        found = yaml.safe_load(path.read_text()) if path.exists() else []
        return [
            {key: str(self._templar.template(trust_as_template(text))) for key, text in one.items()} for one in found
        ]

    def _content(self, role: Path, file: dict[str, str], variables: dict[str, Any]) -> str:
        path, plain = file["path"], file.get("from")
        source = role / "files" / plain if plain else role / "templates" / f"{path.lstrip('/')}.j2"
        try:
            text = source.read_text()
        except OSError as error:
            raise AnsibleActionFail(f"{role.name}/owns.yml lists {path}, but {source}: {error.strerror}") from error
        if plain:
            return text
        templar = self._templar.copy_with_new_env(searchpath=[str(source.parent)], available_variables=variables)
        return str(templar.template(trust_as_template(text), overrides=OVERRIDES))
