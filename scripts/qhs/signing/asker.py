"""From where the signing service of a site is asked."""

from __future__ import annotations

from pathlib import Path

from qhs.errors import UserError
from qhs.twin import boot
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.estate import APPLICATION


def namespace(estate: Estate, twin: Twin, site: str) -> Path:
    """Of a machine of the site's applications: flows let them ask the signer, and nobody who operates the estate.

    Raises UserError where none is up.
    """
    for one in estate.machines.values():
        if one.site == site and APPLICATION in one.roles and (init := boot.group(twin, one.name).init()):
            return Path(f"/proc/{init}/ns/net")
    raise UserError(
        f"the signing service of {site}: found no machine of applications that is up; wanted one to ask from",
        "`qhs up`",
    )
