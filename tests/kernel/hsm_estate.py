"""Devices that really are SoftHSM's, as the plugin asks them; only ssh and the secret stores are stood in for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from stacks.provider.carried import Carried
from stacks.provider.settings import Settings
from stacks.provider.signing import devices, handler, tokens
from stacks.provider.signing.device import Device
from stacks.provider.signing.devices import Token
from tests.kernel.hsm_host import LIBRARY, HsmHost


class Kept:
    """A site's secret store, as far as these kinds know one."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}

    def secret(self, path: str) -> dict[str, Any] | None:
        return self.secrets.get(path)

    def keep(self, path: str, fields: dict[str, Any], *, new: bool = False) -> None:
        assert not (new and path in self.secrets)
        self.secrets[path] = fields

    def add(self, path: str, fields: dict[str, Any]) -> None:
        self.secrets[path] = {**self.secrets.get(path, {}), **fields}

    def forget(self, path: str) -> None:
        self.secrets.pop(path, None)


class Estate:
    """Devices of sites; any can be silent."""

    def __init__(self, hosts: dict[str, HsmHost], sites: Iterable[str]) -> None:
        self.hosts, self.stores = hosts, {site: Kept() for site in sites}
        self.silent: set[str] = set()
        self._devices: dict[str, Device] = {}

    def token(self, _: Settings, site: str, machine: str, label: str) -> Token:
        if machine not in self._devices:
            self._devices[machine] = Device(machine, lambda: self._connected(machine))
        return Token(self._devices[machine], self.stores[site], label)  # type: ignore[arg-type]  # it stands in for one

    def store(self, _: Settings, site: str) -> Kept:
        return self.stores[site]

    def _connected(self, machine: str) -> Carried:
        if machine in self.silent:
            return Carried._by(["/bin/false"])
        return Carried._by(["env", "SSH_ORIGINAL_COMMAND=many", *self.hosts[machine].command(f"/{LIBRARY}/qhs_hsm.py")])

    def again(self) -> None:
        """As another run, which opens its connections anew."""
        self._devices = {}

    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """For ssh and the stores, in the kinds of the plugin."""
        for module in (devices, handler):
            monkeypatch.setattr(module, "token", self.token)
        for module in (handler, tokens):
            monkeypatch.setattr(module, "store", self.store)

    def empty(self) -> None:
        """Take every token away."""
        for host in self.hosts.values():
            for one in host.done("tokens")["tokens"]:
                host.delete(one["label"])
