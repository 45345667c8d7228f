"""The databases that a plugin has asked: the engine asks about many resources at once, which share a connection."""

from __future__ import annotations

import threading
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

_SERVERS: dict[tuple[Path, str], Server] = {}
_MAKING = threading.Lock()


def server(settings: Settings, site: str) -> Server:
    """Of a site. Raises ProviderError where nobody says where it is."""
    access, config = TrustAccess.read(settings.trust_access), settings.machines()
    there = access.databases.get(site)
    if there is None:
        raise ProviderError(
            f"{site}: found no databases of it in {settings.trust_access}; wanted one of "
            f"{', '.join(access.databases)}. Way out: `qhs up`, which writes it"
        )
    with _MAKING:
        if (config, site) not in _SERVERS:
            _SERVERS[config, site] = Server(site, partial(_connect, _given(access, config, there)))
        return _SERVERS[config, site]


def _given(access: TrustAccess, config: Path, there: DatabaseAccess) -> dict[str, Any]:
    """What a connection to whichever member takes writes is made by; TLS is between this end and that one."""
    ports = [
        always_led(partial(Carried.to, config, USER, machine, f"{address}:{PORT}"))
        for machine, address in there.members.items()
    ]
    return {
        "host": ",".join([there.name] * len(ports)),
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
