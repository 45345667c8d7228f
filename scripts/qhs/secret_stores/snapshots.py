"""Snapshots of the secret stores, each at the other sites: what a store that lost all its disks is restored from.

A snapshot is encrypted as the store itself is on its disks, by a key that the HSMs of its own site alone give out.
Where it lies it is of no use to anybody (C-BAK-03), and whoever restores it types no key.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from qhs import ansible
from qhs.errors import UserError
from qhs.progress import Progress
from qhs.reaching import settings, within
from qhs.state import homes
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.objects import SNAPSHOTS, others
from stacks.model.signing import stores
from stacks.name import StackName
from stacks.provider.secret.client import SECRETS, Store, StoreError
from stacks.provider.secret.stores import store
from stacks.provider.settings import ProviderError, Settings
from stacks.provider.storage.client import ObjectsError
from stacks.provider.storage.stores import objects

OPENS = 60
"""Seconds until a store serves what it was given; its servers read it and open it anew."""


def take(estate: Estate, twin: Twin, progress: Progress) -> list[str]:
    """Have the newest snapshot of each store at every other site that keeps objects; which there are not now."""
    own = settings(estate, twin)
    return within(twin, lambda: list(_lacking(estate, own, progress)))


def restore(estate: Estate, twin: Twin, site: str, progress: Progress) -> None:
    """Have a site's store that lost all its disks begun anew, opened by an HSM, and hold what its newest snapshot has.

    Raises UserError, with nothing changed where the store holds something, no site has a snapshot of it, or the seal of
    the snapshot is not that of the store.
    """
    if site not in (known := stores(estate)):
        raise UserError(f"found the site {site}; wanted one with a secret store: {', '.join(known)}", "name one")
    own = settings(estate, twin)
    ansible.play(twin, estate, "trust.yml", set(known[site]), progress)
    within(twin, lambda: _restore(estate, own, site, progress))
    ansible.play(twin, estate, "reopened.yml", set(known[site]), progress)


def lost(estate: Estate, twin: Twin) -> list[str]:
    """The sites whose stores hold nothing, although what they should hold was applied. Raises UserError."""
    own, applied = settings(estate, twin), {StackName.parse(one) for one in homes.read(twin)}
    wanted = [site for site in stores(estate) if StackName(estate.inventory.environment, site, "signing") in applied]
    return within(twin, lambda: [site for site in wanted if not _in_use(store(own, site))])


def _lacking(estate: Estate, own: Settings, progress: Progress) -> Iterator[str]:
    for site in stores(estate):
        for other in others(estate, site):
            try:
                objects(own, other).write(SNAPSHOTS, _name(site), store(own, site).snapshot())
            except (StoreError, ObjectsError, ProviderError) as error:
                yield f"no snapshot of the secret store of {site} at {other}: {error}"
            else:
                progress(f"secrets: a snapshot of the store of {site} is at {other}")


def _restore(estate: Estate, own: Settings, site: str, progress: Progress) -> None:
    there = store(own, site)
    if _in_use(there):
        raise ProviderError(
            f"{site}: found a secret store in use; wanted a new one, which holds nothing. "
            "Way out: one that is to be given up loses the disks of all its nodes first; where a restore was cut off, "
            "`ansible-playbook scripts/playbooks/reopened.yml` in `qhs shell` does what was left of it"
        )
    other, snapshot = _newest(estate, own, site)
    there.restore(snapshot)
    progress(f"secrets: the store of {site} is restored from the snapshot at {other}")
    end = time.monotonic() + OPENS
    while not _opened(there):
        if time.monotonic() > end:
            raise ProviderError(f"the secret store of {site}: it does not open within {OPENS} s of being restored")
        time.sleep(1)


def _newest(estate: Estate, own: Settings, site: str) -> tuple[str, bytes]:
    """Of the first other site that has a snapshot, with what it has."""
    said = []
    for other in others(estate, site):
        try:
            return other, objects(own, other).read(SNAPSHOTS, _name(site))
        except (ObjectsError, ProviderError) as error:
            said.append(str(error))
    raise ProviderError(
        f"{site}: found no snapshot of its secret store: {'; '.join(said) or 'no other site keeps objects'}. "
        "Way out: `qhs up` declares all anew, with other keys and PINs, so that the site's tokens must be made anew"
    )


def _opened(there: Store) -> bool:
    try:
        return _in_use(there)
    except StoreError:  # its servers are about it
        return False


def _in_use(there: Store) -> bool:
    return f"{SECRETS}/" in (there.read("sys/mounts") or {})


def _name(site: str) -> str:
    """Of the object: what it replaces is kept as an older version."""
    return f"{site}.snapshot"
