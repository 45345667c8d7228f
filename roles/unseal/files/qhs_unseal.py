#!/usr/bin/python3 -B
"""The seal key of a site's secret store, as the HSM of this host holds it: encrypted for a key that never leaves it.

    check    say why this host cannot give the key out, and exit with 2; or nothing
    public   print the public key for which others encrypt it, and what is kept; both made on first use
    share    of public keys by host on standard input, print for each the seal key encrypted; `new` where there is none
    take     keep what another host has encrypted for this one
    serve    to a node of the store on the connection that systemd passes, which shows its certificate

The PIN of the token is the one that no secret store can keep: root's alone, in a file of this host. Answers are one
line of JSON; what is refused is a line on standard error, with exit code 1. Without bytecode (-B), as
root would leave files here that no role owns.
"""

import json
import os
import pwd
import secrets
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import PyKCS11
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from device import Device, answers
from opened import Opened
from refused import RefusedError

USER = "qhs-hsm"
TOKEN, KEY, ALGORITHM = "unseal", "seal", "rsa-3072"
PINS, KEPT = Path("/var/lib/qhs-unseal/pins"), Path("/var/lib/qhs-unseal/kept")
CLIENTS = Path("/etc/qhs/hsm/unseal-clients.json")
TLS = Path("/etc/qhs/tls")
SIZE = 32  # bytes of an AES-256 key
PATIENCE = 10  # seconds for a client's next word


def main() -> int:
    """Runs one verb. Returns the exit code."""
    os.umask(0o077)
    output = answers()
    verb = VERBS.get(" ".join(sys.argv[1:]))
    if not verb:
        sys.exit(__doc__)
    try:
        answer = verb()
    except (RefusedError, PyKCS11.PyKCS11Error, OSError, ValueError, KeyError) as error:
        print(f"{verb.__name__}: {error}", file=sys.stderr)
        return 1
    if verb is check:
        print(answer, end="", file=output)
        return 2 if answer else 0
    if answer is not None:
        print(json.dumps(answer), file=output)
    return 0


def check() -> str:
    """Why this host cannot give the key out."""
    if not KEPT.exists():
        return "no seal key is kept here"
    try:
        with_token(seal_key)
    except (RefusedError, PyKCS11.PyKCS11Error, OSError, ValueError) as error:
        return f"the seal key that is kept here cannot be read: {error}"
    return ""


def public() -> dict[str, Any]:
    """The host's own key, and whether it keeps the seal key: `yes`, `lost` where its device does not open it, `no`."""
    if not PINS.exists():
        write(PINS, {name: secrets.token_urlsafe(24) for name in ("so_pin", "pin")}, 0o400)
    key = with_token(lambda token: token.make_key(KEY, ALGORITHM, "decrypt", shared=False)[1]["public"], make=True)
    return {"public": key, "kept": ("lost" if check() else "yes") if KEPT.exists() else "no"}


def share() -> dict[str, str]:
    """The seal key for others; a new one only where the caller knows that no host of the site keeps one."""
    given = json.load(sys.stdin)
    if given["new"] == KEPT.exists():
        raise RefusedError("kept", f"{KEPT}: found {'one' if given['new'] else 'none'}; wanted the other")
    key = secrets.token_bytes(SIZE) if given["new"] else with_token(seal_key)
    return {host: encrypted(key, bytes.fromhex(one)).hex() for host, one in given["publics"].items()}


def take() -> None:
    """What is kept already and can be read stays, unless the new one is the same key."""
    given = json.load(sys.stdin)
    fresh = bytes.fromhex(given["encrypted"])
    key = with_token(lambda token: token.decrypt(KEY, fresh))
    if len(key) != SIZE or (not check() and with_token(seal_key) != key):
        raise RefusedError("other-key", f"{KEPT}: found another seal key than what came; nothing changed")
    write(KEPT, {"encrypted": fresh.hex()}, 0o444)


def serve() -> None:
    """The key in one piece, or why not; who shows no certificate of the estate gets no answer at all."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(TLS / "ca.crt"))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(TLS / "machine.crt", TLS / "machine.key")
    with socket.socket(fileno=0) as connection:
        connection.settimeout(PATIENCE)
        with context.wrap_socket(connection, server_side=True) as secure:
            name = common_name(secure.getpeercert())
            if name not in json.loads(CLIENTS.read_text()):
                secure.sendall(b"refused: not a node of this site's secret store")
                raise RefusedError("client", f"{name} is no node of this site's secret store")
            secure.sendall(b"key:" + with_token(seal_key))
    print(f"given to {name}", file=sys.stderr)


def common_name(certificate: Any) -> str:
    """Of a certificate that was verified."""
    return next(value for rdn in certificate["subject"] for kind, value in rdn if kind == "commonName")


def encrypted(key: bytes, public: bytes) -> bytes:
    """As `Opened.decrypt` takes it."""
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - all that SoftHSM has, and OAEP needs no more of it
    return serialization.load_der_public_key(public).encrypt(key, oaep)


def seal_key(token: Opened) -> bytes:
    """In clear, in this process alone."""
    return token.decrypt(KEY, bytes.fromhex(json.loads(KEPT.read_text())["encrypted"]))


def with_token[T](act: Callable[[Opened], T], *, make: bool = False) -> T:
    """What it says once it is logged in to; the device sees its own user, not root."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    pins = json.loads((Path(folder) / "pins" if folder else PINS).read_text())
    with as_user():
        device = Device.here()
        if make:
            device.make_token(TOKEN, **pins)
        with device.opened(TOKEN, pins["pin"]) as token:
            return act(token)


@contextmanager
def as_user() -> Iterator[None]:
    """Where root begins, until the block ends."""
    root, user = os.geteuid() == 0, pwd.getpwnam(USER)
    if root:
        os.setegid(user.pw_gid)
        os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
            os.setegid(0)


def write(path: Path, content: dict[str, str], mode: int) -> None:
    """The whole of it or what was there."""
    path.parent.mkdir(exist_ok=True)
    path.parent.chmod(0o755)  # the unit's user reads what is encrypted
    new = path.with_suffix(".new")
    with new.open("w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    new.chmod(mode)
    new.rename(path)


VERBS: dict[str, Callable[[], Any]] = {one.__name__: one for one in (check, public, share, take, serve)}


if __name__ == "__main__":
    sys.exit(main())
