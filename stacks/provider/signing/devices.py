"""The devices that a plugin has asked, and the PINs of their tokens, which stand in the secret stores alone."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from stacks.provider.carried import Carried
from stacks.provider.inputs import Plain
from stacks.provider.secret.client import Store, StoreError
from stacks.provider.secret.stores import store
from stacks.provider.settings import ProviderError, Settings
from stacks.provider.signing.certificates import algorithm_of
from stacks.provider.signing.device import TALK, USER, Answer, Device, DeviceError, SilentError

_DEVICES: dict[tuple[Path, str], Device] = {}
_MAKING = threading.Lock()
NEXT = "next"
"""Beside a PIN, the one that is about to take its place."""
BYTES = 24
"""Of a PIN, from which its text is made."""
KEK = "kek"
FOUNDED = {"founded": True}
"""What a site keeps of the key of a domain: that there was one, so that nobody makes another."""


@contextmanager
def told() -> Iterator[None]:
    """The faults of devices and stores are the user's news."""
    try:
        yield
    except (DeviceError, StoreError) as error:
        raise ProviderError(str(error)) from error


class Token:
    """One token of one device, opened by its PIN for every verb."""

    def __init__(self, device: Device, pins: Store, label: str) -> None:
        self.machine, self._device, self._pins, self._label = device.machine, device, pins, label
        self._own: dict[str, str] | None = None

    @property
    def _path(self) -> str:
        return pins_at(self.machine, self._label)

    def there(self) -> bool:
        """Whether the device has it. Raises DeviceError."""
        return self.shown() is not None

    def shown(self) -> Answer | None:
        """What the device says of it without a PIN; none: it has none. Raises DeviceError."""
        return next((one for one in self._device.ask("tokens")["tokens"] if one["label"] == self._label), None)

    def make(self) -> None:
        """Have it, its PINs first in the store: a run that dies leaves none that nobody knows."""
        own = self._pins.secret(self._path)
        if own is None:
            if self.there():
                raise ProviderError(
                    f"{self.machine}: found a token {self._label} whose PIN the secret store does not know; wanted "
                    "none, or its PIN there. Way out: restore the store, or have the token taken away on that machine"
                )
            own = {name: secrets.token_urlsafe(BYTES) for name in ("so_pin", "pin")}
            self._pins.keep(self._path, own, new=True)
        elif NEXT in own and self.there():
            self.rotate()
            return
        self._device.ask("make-token", token=self._label, so_pin=own["so_pin"], pin=own["pin"])
        self._own = own

    def rotate(self) -> None:
        """Another PIN. The store has it before the device does, so a run that dies in between is gone on with.

        Sessions that are open stay so. Raises DeviceError, StoreError.
        """
        self._pin("pin")
        own = dict(self._own or {})
        if NEXT not in own:
            own[NEXT] = secrets.token_urlsafe(BYTES)
            self._pins.keep(self._path, own)
        try:
            self._device.ask("change-pin", token=self._label, pin=own["pin"], new_pin=own[NEXT])
        except DeviceError as error:
            if error.code != "pin":
                raise
            self._device.ask("keys", token=self._label, pin=own[NEXT])  # a run that died had changed it
        self._own = {"so_pin": own["so_pin"], "pin": own[NEXT]}
        self._pins.keep(self._path, self._own)

    def remove(self) -> None:
        """Have it gone with its PINs, which devices do with tokens of rehearsals alone. Raises DeviceError, StoreError.

        Where a device can only empty it, the PINs stay, as it opens with them.
        """
        if not self.there() or self.ask_officer("remove-token")["removed"]:
            self._pins.forget(self._path)
            self._own = None

    def ask(self, verb: str, **given: str) -> Answer:
        """As its user. Raises DeviceError, StoreError."""
        return self._device.ask(verb, token=self._label, pin=self._pin("pin"), **given)

    def ask_officer(self, verb: str, **given: str) -> Answer:
        """As its security officer. Raises DeviceError, StoreError."""
        return self._device.ask(verb, token=self._label, so_pin=self._pin("so_pin"), **given)

    def keys(self) -> dict[str, Answer]:
        """What it holds, by label. Raises DeviceError, StoreError."""
        return {one["label"]: one for one in self.ask("keys")["keys"]}

    def _pin(self, name: str) -> str:
        self._own = self._own or self._pins.secret(self._path)
        if self._own is None:
            raise DeviceError(self.machine, "no-pin", f"the secret store knows no PIN of its token {self._label}")
        return self._own[name]


def pins_at(machine: str, token: str) -> str:
    """Where the PINs of a token stand among the secrets of its site."""
    return f"hsm/{machine}/{token}"


def key_at(token: str, label: str) -> str:
    """Where what a site keeps of a token's key stands among its secrets."""
    return f"signing/{token}/{label}"


def token(settings: Settings, site: str, machine: str, label: str) -> Token:
    """Raises ProviderError."""
    config = settings.machines()
    with _MAKING:
        if (config, machine) not in _DEVICES:
            _DEVICES[config, machine] = Device(machine, partial(Carried.talking, config, USER, machine, TALK))
    return Token(_DEVICES[config, machine], store(settings, site), label)


@dataclass
class Looked:
    """What tokens said of themselves."""

    found: list[tuple[Token, dict[str, Answer]]] = field(default_factory=list)
    """Those that answered, with what each holds."""
    silent: list[str] = field(default_factory=list)
    """Which devices did not answer, and why."""
    lacking: list[str] = field(default_factory=list)
    """Which devices have no such token."""

    @property
    def gaps(self) -> list[str]:
        """Both."""
        return [*self.silent, *self.lacking]


def each(tokens: Iterable[Token]) -> Looked:
    """Raises StoreError, and DeviceError of a device that refuses for another reason than that it has no such token."""
    looked = Looked()
    for one in tokens:
        try:
            looked.found.append((one, one.keys()))
        except SilentError as error:
            looked.silent.append(str(error))
        except DeviceError as error:
            if error.code not in ("no-token", "no-pin"):
                raise
            looked.lacking.append(f"{one.machine}: no token")
    return looked


def hand_over(holder: Token, lacking: Token) -> None:
    """The domain's key from one device to another, which a security officer of the first one trusts."""
    public = lacking.ask("transport")["public"]
    holder.ask_officer("trust", device_name=lacking.machine, public=public)
    wrapped = holder.ask("kek-for", device_name=lacking.machine)["wrapped"]
    if not lacking.ask("take-kek", wrapped=wrapped)["made"]:
        raise DeviceError(lacking.machine, "kek", "another key of the domain came in between; nothing changed")


def kept_of(label: str, use: str, told_of: Answer, holder: Token) -> Plain:
    """What a site keeps of a key that a device holds. Raises DeviceError, StoreError."""
    algorithm = algorithm_of(bytes.fromhex(told_of["public"]))
    wrapped = holder.ask("wrapped", label=label)["wrapped"]
    return {"public": told_of["public"], "wrapped": wrapped, "algorithm": algorithm, "use": use}
