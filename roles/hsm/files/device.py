"""A PKCS#11 module on its machine, and the tokens of its device."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import PyKCS11
from kept import forget, keep
from opened import Opened
from refused import RefusedError

SETTINGS = Path("/etc/qhs/hsm/module.json")
LOCKS = Path("/run/qhs-hsm")
_PADDED = 32  # what PKCS#11 wants a token's label to be
_WRONG_PIN = {
    PyKCS11.CKR_PIN_INCORRECT: "it is not the PIN of this token",
    PyKCS11.CKR_PIN_LOCKED: "the token has locked its PIN: its security officer sets a new one",
}
_TELLING = ("CKF_USER_PIN", "CKF_SO_PIN")


def answers() -> TextIO:
    """Standard output as it was: a library may print what it likes, which goes to standard error from now on."""
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return own


class Device:
    """Finds a token by its label: slots are numbered anew whenever one is made.

    All processes take turns to get in, since SoftHSM writes a token at each login, and who reads it then is given an
    error. `folder` has the locks; `soft_tokens` is where SoftHSM has its tokens, if it is the module.
    """

    def __init__(self, module: str, folder: Path, soft_tokens: str | None) -> None:
        self._folder, self._soft_tokens = folder, soft_tokens
        self._lib = PyKCS11.PyKCS11Lib()
        with self._in_turn():
            self._lib.load(module)

    @classmethod
    def here(cls) -> "Device":
        """The one of this host."""
        settings = json.loads(SETTINGS.read_text())
        os.environ.update(settings["environment"])
        return cls(settings["module"], LOCKS, settings["soft_tokens"])

    def told(self) -> dict[str, str]:
        """What the module says of itself."""
        info = self._lib.getInfo()
        version = ".".join(map(str, info.libraryVersion))
        return {"manufacturer": _text(info.manufacturerID), "version": version}

    def tokens(self) -> list[dict[str, Any]]:
        """Every token that has a label, and what the device says of it. Needs no PIN."""
        with self._in_turn():
            slots = self._lib.getSlotList()
            told = [self._told(slot) for slot in slots if self._has(slot, PyKCS11.CKF_TOKEN_INITIALIZED)]
        return sorted(told, key=lambda one: str(one["label"]))

    def make_token(self, label: str, so_pin: str, pin: str) -> bool:
        """Whether there was none; one that a crash left without a user's PIN gets it, others must open with it."""
        with self._in_turn():
            slot = self._slot(label)
            made = slot is None
            if slot is None:
                slot = self._free(label)
                self._lib.initToken(slot, so_pin, label.ljust(_PADDED))
            has_user = self._has(slot, PyKCS11.CKF_USER_PIN_INITIALIZED)
        if not has_user:
            with self.opened(label, so_pin, officer=True) as officer:
                officer.give_pin(pin)
        with self.opened(label, pin):
            return made

    def remove_token(self, label: str, so_pin: str) -> bool:
        """Destroy all that a token holds; whether the device has no such token any more.

        PKCS#11 can only begin a token anew: one of another module than SoftHSM stays, empty, with this PIN.
        """
        with self.opened(label, so_pin, officer=True):
            pass  # what is wrong with the PIN is said before anything is gone
        with self._in_turn():
            slot = self._slot(label)
            serial = _text(self._lib.getTokenInfo(slot).serialNumber)
            self._lib.initToken(slot, so_pin, label.ljust(_PADDED))
            if self._soft_tokens:
                forget(Path(self._soft_tokens), serial)
        return bool(self._soft_tokens)

    @contextmanager
    def opened(self, label: str, pin: str, *, officer: bool = False) -> Iterator[Opened]:
        """Log in, and be the only one here who changes the token. Raises RefusedError."""
        with _alone(self._folder / f"{label}.lock"):
            with self._in_turn():
                session = self._logged_in(label, pin, officer)
            try:
                yield Opened(session, label)
                session.logout()
            finally:
                session.closeSession()

    def kept_open(self, label: str, pin: str) -> Opened:
        """For who only signs: beside others, and until the module is unloaded. Raises RefusedError."""
        with self._in_turn():
            return Opened(self._logged_in(label, pin, officer=False), label)

    def _logged_in(self, label: str, pin: str, officer: bool) -> Any:
        slot = self._slot(label)
        if slot is None:
            raise RefusedError("no-token", f"{label}: the device has no token of this label")
        if not officer and not self._has(slot, PyKCS11.CKF_USER_PIN_INITIALIZED):
            raise RefusedError("no-token", f"{label}: it has no user yet, as somebody died who was making it")
        last = PyKCS11.CKF_SO_PIN_FINAL_TRY if officer else PyKCS11.CKF_USER_PIN_FINAL_TRY
        locked = PyKCS11.CKF_SO_PIN_LOCKED if officer else PyKCS11.CKF_USER_PIN_LOCKED
        if self._has(slot, last) or self._has(slot, locked):
            raise RefusedError("last-try", f"{label}: a wrong PIN would lock it, or has; nothing was tried")
        session = self._lib.openSession(slot, PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
        try:
            session.login(pin, PyKCS11.CKU_SO if officer else PyKCS11.CKU_USER)
        except PyKCS11.PyKCS11Error as error:
            session.closeSession()
            if error.value in _WRONG_PIN:
                raise RefusedError("pin", f"{label}: {_WRONG_PIN[error.value]}") from None
            raise
        return session

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        with _alone(self._folder / "turn"):
            if self._soft_tokens:
                keep(Path(self._soft_tokens))
            yield

    def _told(self, slot: int) -> dict[str, Any]:
        info = self._lib.getTokenInfo(slot)
        return {
            "label": _text(info.label),
            "serial": _text(info.serialNumber),
            "model": _text(info.model),
            "manufacturer": _text(info.manufacturerID),
            "flags": sorted(one for one in info.flags2text() if one.startswith(_TELLING)),
            "mechanisms": sorted(one for one in self._lib.getMechanismList(slot) if isinstance(one, str)),
        }

    def _has(self, slot: int, flag: int) -> bool:
        return bool(self._lib.getTokenInfo(slot).flags & flag)

    def _slot(self, label: str) -> int | None:
        found = [one for one in self._lib.getSlotList() if _text(self._lib.getTokenInfo(one).label) == label]
        if len(found) > 1:
            raise RefusedError("tokens", f"{label}: found {len(found)} tokens of this label; wanted one")
        return found[0] if found else None

    def _free(self, label: str) -> int:
        slots: list[int] = self._lib.getSlotList()
        free = next((one for one in slots if not self._has(one, PyKCS11.CKF_TOKEN_INITIALIZED)), None)
        if free is None:
            raise RefusedError("full", f"{label}: the device has no room for another token")
        return free


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _text(padded: str) -> str:
    return padded.strip(" \0")
