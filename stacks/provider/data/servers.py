"""The databases that a plugin has asked: the engine asks about many resources at once, which share a connection."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psycopg

from stacks.model.data import PROVISIONER
from stacks.provider.access import TrustAccess
from stacks.provider.carried import Carried
from stacks.provider.data.client import Server
from stacks.provider.data.spec import DatabaseAccess
from stacks.provider.doors import always_led
from stacks.provider.settings import ProviderError, Settings

USER = "qhs-databases"
PORT = 5432
PATIENCE = 10
"""Seconds for a member to answer."""

_SERVERS: dict[Path, Server] = {}
_MAKING = threading.Lock()


def server(settings: Settings, site: str) -> Server:
    """The databases of the estate: where they take writes, which is looked for at a site first, then at the others.

    What was declared at a site that has none any more stands at those. Raises ProviderError where nobody says where any
    are.
    """
    access, config = TrustAccess.read(settings.trust_access), settings.machines()
    if not access.databases:
        raise ProviderError(
            f"{site}: found no databases in {settings.trust_access}, of it or of another site; wanted those of the "
            "estate. Way out: `qhs up`, which writes it"
        )
    with _MAKING:
        if config not in _SERVERS:
            those = sorted(access.databases.items(), key=lambda one: one[0] != site)
            given = _given(access, config, [there for _, there in those])
            _SERVERS[config] = Server(", ".join(name for name, _ in those), partial(_connect, given))
        return _SERVERS[config]


def takes_writes(settings: Settings, site: str) -> str:
    """The site where they do; that one, where the estate has none. Raises DataError, ProviderError."""
    databases = TrustAccess.read(settings.trust_access).databases
    if not databases:
        return site
    at = server(settings, site).host()
    return next(name for name, there in databases.items() if there.name == at)


def _given(access: TrustAccess, config: Path, those: Sequence[DatabaseAccess]) -> dict[str, Any]:
    """What a connection to whichever member takes writes is made by; TLS is between this end and that one."""
    names, ports = [], []
    for there in those:
        for machine, address in there.members.items():
            names.append(there.name)
            ports.append(always_led(partial(Carried.to, config, USER, machine, f"{address}:{PORT}")))
    return {
        "host": ",".join(names),
        "hostaddr": ",".join(["127.0.0.1"] * len(ports)),
        "port": ",".join(map(str, ports)),
        "target_session_attrs": "read-write",
        "user": PROVISIONER,
        "sslmode": "verify-full",
        "sslrootcert": str(access.root),
        "sslcert": str(access.provisioner),
        "sslkey": str(access.provisioner),
        "connect_timeout": PATIENCE,
    }


def _connect(given: dict[str, Any], database: str) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(**given, dbname=database, autocommit=True)
