"""`lookup('qhs_alerts')`: the alert rules of all roles. What looks like a template in them is the store's, not ours."""

from __future__ import annotations

from typing import Any

from ansible.plugins.lookup import LookupBase

from qhs.alerts import collected


class LookupModule(LookupBase):
    """Takes no terms."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **options: Any) -> list[str]:
        """One text."""
        return [collected()]
