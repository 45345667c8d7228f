"""The object stores that a plugin has asked: the engine asks about many resources at once, which share a connection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from stacks.model.objects import IDENTITIES, PROVISIONER
from stacks.provider.access import TrustAccess
from stacks.provider.carried import Carried
from stacks.provider.doors import always_open
from stacks.provider.secret.client import StoreError
from stacks.provider.secret.stores import store
from stacks.provider.settings import ProviderError, Settings
from stacks.provider.storage.client import PORT, Objects, client
from stacks.provider.storage.spec import ObjectStoreAccess

USER = "qhs-buckets"

_STORES: dict[tuple[Path, str], Objects] = {}
_MAKING = threading.Lock()


def objects(settings: Settings, site: str) -> Objects:
    """Of a site. Raises ProviderError where nobody says where it is, or nobody may come in yet."""
    access, config = TrustAccess.read(settings.trust_access), settings.machines()
    there = access.objects.get(site)
    if there is None:
        raise ProviderError(
            f"{site}: found no object store of it in {settings.trust_access}; wanted one of "
            f"{', '.join(access.objects)}. Way out: `qhs up`, which writes it"
        )
    with _MAKING:
        if (config, site) not in _STORES:
            proxy = always_open({f"{there.name}:{PORT}": door(config, there)})
            key = identity_key(settings, site, PROVISIONER)
            _STORES[config, site] = Objects(site, client(there.name, proxy, access.root, PROVISIONER, key))
        return _STORES[config, site]


def door(config: Path, there: ObjectStoreAccess) -> Callable[[], Carried]:
    """Opens a stream to an object store."""
    return partial(Carried.to, config, USER, there.machine, f"{there.address}:{PORT}")


def identity_key(settings: Settings, site: str, name: str) -> str:
    """Somebody's key to the object store of a site. Raises ProviderError."""
    try:
        found = store(settings, site).secret(f"{IDENTITIES}/{name}")
    except StoreError as error:
        raise ProviderError(str(error)) from error
    if found is None:
        raise ProviderError(
            f"{site}: found no key of {name} to the object store in the secret store; wanted one. Way out: `qhs up`"
        )
    return str(found["key"])
