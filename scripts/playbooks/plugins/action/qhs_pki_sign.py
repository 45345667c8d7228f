"""Has the root, on the operator's machine, sign the authority of a site; notes who vouches for its hosts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from qhs.errors import UserError
from qhs.pki import sign_authority, trust_hosts


class ActionModule(ActionBase):
    """`request`, what the authority printed; `site`; `networks`, those of its machines. Answers with `certificate`."""

    _VALID_ARGS = frozenset({"request", "site", "networks"})
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The machine itself is not asked."""
        result: dict[str, Any] = super().run(tmp, task_vars or {})
        site, own = self._task.args["site"], Path(os.environ["QHS_PKI"])
        request = json.loads(self._task.args["request"])
        try:
            certificate = sign_authority(own, request["csr"], site, self._task.args["networks"])
        except UserError as error:
            raise AnsibleActionFail(str(error)) from error
        trust_hosts(own, site, request["hosts"])
        return result | {"changed": False, "certificate": certificate}
