"""The secret stores that a plugin has asked: the engine asks about many resources at once, which share a connection."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

from stacks.provider.access import TrustAccess
from stacks.provider.secret.client import Store
from stacks.provider.secret.over_ssh import connecting, session
from stacks.provider.settings import ProviderError, Settings

_STORES: dict[tuple[Path, str], Store] = {}
_MAKING = threading.Lock()


def store(settings: Settings, site: str) -> Store:
    """Of a site. Raises ProviderError where nobody names its nodes."""
    access, config = TrustAccess.read(settings.trust_access), settings.machines()
    nodes = access.stores.get(site)
    if not nodes:
        raise ProviderError(
            f"{site}: found no node of a secret store in {settings.trust_access}; wanted one of its sites, "
            f"{', '.join(access.stores)}. Way out: `qhs up`, which writes it"
        )
    with _MAKING:
        if (config, site) not in _STORES:
            made = partial(session, connecting(config, nodes), access.root, access.provisioner)
            _STORES[config, site] = Store(site, list(nodes), made)
        return _STORES[config, site]
