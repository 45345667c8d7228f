"""A plain client of a site's secret store: paths and what stands there. Knows nothing of Pulumi."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import hvac
import requests
from hvac.exceptions import Forbidden, InvalidRequest, VaultDown, VaultError

from stacks.provider.secret.over_ssh import PORT

TIMEOUT = 30
"""Seconds for one answer."""
FRESH = 900
"""Seconds for which a login is used; the store lets a provisioner in for twice as long."""
LEADERLESS, ELECTS = "active cluster node not found", 30
"""What a node says while the nodes elect one that leads, and seconds for which that may take."""
SENT_ON = "it sends on to a node that does not answer"
"""What it means by it until it knows that the one that led is gone."""
SECRETS = "secret"
"""The path of the one engine for secrets of a site."""
TRANSIT = "transit"
"""The path of the one engine for keys that encrypt and never leave."""

_GONE = (requests.RequestException, VaultDown, Forbidden)
"""What a node that is gone says, or one that has forgotten us."""

type Fields = dict[str, Any]


class StoreError(Exception):
    """A store did not do what it was asked: which, what it said, the way out."""


class Store:
    """The store of one site, by whichever of its nodes answers first."""

    def __init__(self, site: str, nodes: list[str], session: Callable[[], requests.Session]) -> None:
        self._site, self._nodes, self._session = site, nodes, session
        self._turn = threading.RLock()
        self._client: hvac.Client | None = None
        self._since = 0.0

    def read(self, path: str) -> Fields | None:
        """What stands at a path; None: nothing. Raises StoreError."""
        answer = self._asked(f"read {path}", lambda client: client.read(path))
        return dict(answer["data"]) if answer else None

    def names(self, path: str) -> list[str]:
        """What stands below a path. Raises StoreError."""
        answer = self._asked(f"list {path}", lambda client: client.list(path))
        return list(answer["data"]["keys"]) if answer else []

    def write(self, path: str, **fields: Any) -> Fields:
        """What the store says to it, if anything. Raises StoreError."""
        answer = self._asked(f"write {path}", lambda client: client.write_data(path, data=fields))
        return dict(answer.get("data") or {}) if isinstance(answer, dict) else {}

    def delete(self, path: str) -> None:
        """Raises StoreError."""
        self._asked(f"delete {path}", lambda client: client.delete(path))

    def secret(self, path: str) -> Fields | None:
        """The newest version of a secret; None: there is none. Raises StoreError."""
        found = self.read(f"{SECRETS}/data/{path}")
        return found and found["data"]

    def keep(self, path: str, fields: Fields, *, new: bool = False) -> None:
        """Write a secret; with `new` only where none ever was. Raises StoreError."""
        self.write(f"{SECRETS}/data/{path}", data=fields, **({"options": {"cas": 0}} if new else {}))

    def add(self, path: str, fields: Fields) -> None:
        """Write these beside what a secret has already; of two at once neither is lost. Raises StoreError."""
        with self._turn:
            self.keep(path, {**(self.secret(path) or {}), **fields})

    def secrets(self, below: str) -> list[str]:
        """The names of the secrets below a path. Raises StoreError."""
        return self.names(f"{SECRETS}/metadata/{below}")

    def let_in(self) -> tuple[str, str]:
        """A node and a token that lets in there whoever has it, for half an hour at most. Raises StoreError."""
        with self._turn:
            client = self._let_in()
            return str(urlsplit(client.url).hostname), str(client.token)

    def forget(self, path: str) -> None:
        """A secret with every version of it. Raises StoreError."""
        self.delete(f"{SECRETS}/metadata/{path}")

    def snapshot(self) -> bytes:
        """All that the store holds, encrypted as it lies on its disks. Raises StoreError."""
        return bytes(self._asked("take a snapshot", lambda client: _snapshots(client).take_raft_snapshot().content))

    def restore(self, snapshot: bytes) -> None:
        """Hold what a snapshot has, and nothing else. Raises StoreError; nothing changed where its seal is another."""
        self._asked("restore a snapshot", lambda client: _snapshots(client).restore_raft_snapshot(snapshot))

    def _asked(self, what: str, ask: Callable[[hvac.Client], Any]) -> Any:
        """One question at a time, and every fault as one message."""
        with self._turn:
            end, once_more = time.monotonic() + ELECTS, True
            while True:
                try:
                    return ask(self._let_in())
                except (VaultError, requests.RequestException) as error:
                    if LEADERLESS in _said(error) and time.monotonic() < end:
                        time.sleep(1)
                    elif once_more and isinstance(error, _GONE):
                        once_more = False
                    else:
                        raise self._fault(what, error) from None
                    self._client = None  # asked again, whoever answers

    def _let_in(self) -> hvac.Client:
        """By the first node that lets us in. Raises StoreError with what each said."""
        if self._client and time.monotonic() < self._since + FRESH:
            return self._client
        end = time.monotonic() + ELECTS
        while True:
            said = self._tried()
            if self._client:
                return self._client
            if not any(LEADERLESS in one or SENT_ON in one for one in said) or time.monotonic() > end:
                break
            time.sleep(1)
        raise StoreError(
            f"the secret store of {self._site} lets nobody in: {'; '.join(said)}; wanted a node that is unsealed. "
            "Way out: see `journalctl -u qhs-openbao` there: it says what it lacks; it opens by itself once an HSM of "
            f"the site answers; where all nodes have lost their disks, `qhs secrets restore {self._site}`"
        )

    def _tried(self) -> list[str]:
        """Each node, until one lets us in; what those said that did not."""
        said = []
        for node in self._nodes:
            client = hvac.Client(f"https://{node}:{PORT}", session=self._session(), timeout=TIMEOUT)
            try:
                client.auth.cert.login(name="provisioner")
            except (VaultError, requests.RequestException) as error:
                said.append(f"{node}: {SENT_ON if _sent_on(error, node) else _said(error)}")
                continue
            self._client, self._since = client, time.monotonic()
            break
        return said

    def _fault(self, what: str, error: Exception) -> StoreError:
        wanted = "a request that it takes" if isinstance(error, InvalidRequest) else "an answer"
        return StoreError(
            f"the secret store of {self._site}, asked to {what}: found {_said(error)}; wanted {wanted}. "
            "Way out: `qhs up`, which sets it up, or see `journalctl -u qhs-openbao` at its nodes"
        )


def _sent_on(error: Exception, node: str) -> bool:
    """Whether who does not answer is another than the node that was asked."""
    asked = error.request if isinstance(error, requests.ConnectionError) else None
    return asked is not None and urlsplit(str(asked.url)).hostname != node


def _snapshots(client: hvac.Client) -> Any:
    """The library says nothing of their types."""
    return client.sys


def _said(error: Exception) -> str:
    """Without what was sent: a message of the library may show it."""
    if isinstance(error, VaultError):
        return " ".join("; ".join(error.errors or ()).split()) or type(error).__name__
    return f"no connection ({type(error).__name__})"
