"""HTTPS to a machine's secret store through its sshd: TLS is between this end and the store."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPSConnection

from stacks.provider.carried import Carried

USER = "qhs-secrets"
PORT = 8200

type Connect = Callable[[str], Carried]


def session(connect: Connect, root: Path, provisioner: Path) -> requests.Session:
    """One whose hosts are machines."""
    made = requests.Session()
    made.trust_env = False  # neither proxies nor another's certificates
    made.verify, made.cert = str(root), str(provisioner)
    made.mount("https://", _Adapter(connect))
    return made


def connecting(config: Path, nodes: Mapping[str, str]) -> Connect:
    """To each machine of `nodes`; a node that does not lead may send one on to the address of the one that does."""
    at = {address: machine for machine, address in nodes.items()}

    def connect(host: str) -> Carried:
        machine = at.get(host, host)
        return Carried.to(config, USER, machine, f"{nodes[machine]}:{PORT}")

    return connect


class _Adapter(HTTPAdapter):
    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        super().__init__()

    def init_poolmanager(self, *args: Any, **settings: Any) -> None:
        super().init_poolmanager(*args, **settings)
        connect = self._connect

        class Connection(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                self.carried = connect(self.host)
                return self.carried.stream

            def close(self) -> None:
                super().close()
                if carried := self.__dict__.pop("carried", None):
                    carried.close()

        class Pool(HTTPSConnectionPool):
            ConnectionCls = Connection

        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = {"https": Pool}
