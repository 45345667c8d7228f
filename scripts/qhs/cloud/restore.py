"""`qhs cloud restore`: a site's cluster as a snapshot of its store has it."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import BaseModel, Field

from qhs import trust_access
from qhs.cloud.gates import first_closed, of_cluster
from qhs.cloud.store import Snapshot, Store
from qhs.errors import UserError
from qhs.progress import Progress
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.estate import CONTROL
from stacks.model.kubernetes import clusters


class RestoreReport(BaseModel):
    """What `qhs cloud restore --json` prints."""

    site: str
    snapshot: str
    taken: datetime
    revision: int = Field(description="of the store when the snapshot was taken; what came after it is gone")
    gate: str = Field(description="the first that does not pass now, or nothing")
    found: str
    code: int


def store(estate: Estate, twin: Twin, site: str) -> Store:
    """Raises UserError where the site has no cluster."""
    if site not in (known := clusters(estate)):
        raise UserError(f"found the site {site}; wanted one with a cluster: {', '.join(known)}", "name one")
    return Store(twin, site, tuple(one.name for one in estate.with_role(site, CONTROL)))


def restore(estate: Estate, twin: Twin, there: Store, snapshot: Snapshot, progress: Progress) -> RestoreReport:
    """Give it back and look at the cluster; pods that newer objects had are ended by their nodes meanwhile.

    Raises UserError, with the store as it was, where the API does not come on what the snapshot holds.
    """
    trust_access.write(twin, estate)
    there.give_back(snapshot, progress)
    progress(f"{there.site}: the store is given back; asking the cluster how it is")
    gate, found = first_closed(of_cluster(estate, twin, there.site, there.members))
    return RestoreReport(
        site=there.site,
        snapshot=snapshot.name,
        taken=snapshot.at,
        revision=snapshot.revision,
        gate=gate,
        found=found,
        code=2 if gate else 0,
    )


def warning(there: Store, snapshot: Snapshot) -> str:
    """What whoever wants it is told before."""
    age = datetime.now(UTC) - snapshot.at
    return (
        f"The cluster of {there.site} goes back to {snapshot.name}, {age.total_seconds() / 60:.0f} minutes old. Every "
        "object declared or changed since is gone or as it was then, and pods of such objects are ended. For about a "
        "minute nobody can change anything; pods that run go on. What was before is kept until the new store and the "
        "API are well. Go on?"
    )
