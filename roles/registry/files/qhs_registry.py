#!/usr/bin/python3
"""An SSH forced command: what comes in goes to the registry that takes images, and its answers go back.

    speak   to that registry; whatever else is asked for is this too
    room    one line of JSON: bytes that its disk has free, and in all

sshd would forward to a socket as well, but not to one alone: to every socket of the machine that this user may open.
"""

import json
import os
import socket
import sys
import threading

SOCKET, STORE = "/run/qhs-registry/take.sock", "/var/lib/qhs-registry"
_PART = 64 * 1024


def main() -> int:
    """Carries one connection to its end. Returns the exit code; 1 with a line on standard error: nobody is there."""
    if os.environ.get("SSH_ORIGINAL_COMMAND") == "room":
        return _room()
    with socket.socket(socket.AF_UNIX) as registry:
        try:
            registry.connect(SOCKET)
        except OSError as error:
            print(f"{SOCKET}: {error.strerror}; see `systemctl status qhs-registry-take`", file=sys.stderr)
            return 1
        threading.Thread(target=_in, args=(registry,), daemon=True).start()
        return _out(registry)


def _room() -> int:
    """The registry itself says nothing of it before it is full."""
    try:
        disk = os.statvfs(STORE)
    except OSError as error:
        print(f"{STORE}: {error.strerror}; see `systemctl status qhs-registry-take`", file=sys.stderr)
        return 1
    print(json.dumps({"free": disk.f_bavail * disk.f_frsize, "all": disk.f_blocks * disk.f_frsize}))
    return 0


def _in(registry: socket.socket) -> None:
    """Until whoever came has said all."""
    try:
        while part := os.read(0, _PART):
            registry.sendall(part)
        registry.shutdown(socket.SHUT_WR)
    except OSError:
        return  # the registry has hung up, and `_out` sees it


def _out(registry: socket.socket) -> int:
    """Until the registry has said all."""
    try:
        while part := registry.recv(_PART):
            while part:
                part = part[os.write(1, part) :]
    except OSError as error:
        print(f"{SOCKET}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
