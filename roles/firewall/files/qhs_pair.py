#!/usr/bin/python3
"""The ruleset of a firewall pair, from member to member over TLS on their own segment.

    take    before this member takes part in VRRP: have the confirmed ruleset of the peer, if that one is there
    answer  tell the peer, on the connection that is standard input, what is confirmed here

Where the peer takes part already, what it has confirmed counts. Where neither does yet, the later confirmation does:
both members return at once, and one was off when the other was written to last. A peer that does not answer at all is
off, and this member goes on with what it has. One that answers wrongly is waited for.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CONFIGURATION = Path("/etc/qhs/pair.json")
TLS = Path("/etc/qhs/tls")
STATE = Path("/run/qhs-gateways")
RULESET = "/usr/local/sbin/qhs-ruleset"
SILENCE = 5  # seconds without an answer after which the peer counts as off
PATIENCE = 15  # seconds for an answer of a peer that has been reached; longer than a busy one takes
PAUSE = 1  # seconds between two questions
LARGEST = 8 * 1024 * 1024


def main(verb: str) -> None:
    """Runs a verb."""
    pair = json.loads(CONFIGURATION.read_text())
    if verb == "answer":
        answer(pair)
    elif verb == "take":
        take(pair)
    else:
        sys.exit(__doc__)


def take(pair: dict[str, Any]) -> None:
    """Returns once this member may take part."""
    until = time.monotonic() + SILENCE
    while True:
        try:
            offered = ask(pair)
        except (ssl.SSLError, ValueError, FileNotFoundError) as wrong:
            print(f"no way to know what {pair['peer']} has: {wrong}", flush=True)
            until = time.monotonic() + SILENCE
        except OSError as silent:
            if time.monotonic() > until:
                print(f"{pair['peer']} is off ({silent}): going on with what is confirmed here")
                return
        else:
            if settled(offered):
                print(f"as {pair['peer']} has it")
                return
            until = time.monotonic() + SILENCE
        time.sleep(PAUSE)


def settled(offered: dict[str, Any]) -> bool:
    """Whether what is confirmed here may stay; takes what the peer offers where it may not, for another look."""
    own = ruleset("confirmed")
    if offered["text"] in (None, own["text"]):
        return True
    if own["text"] is not None and not offered["serving"] and offered["since"] <= own["since"]:
        return True
    print(ruleset("take", json.dumps(offered)), flush=True)
    return False


def ask(pair: dict[str, Any]) -> dict[str, Any]:
    """What the peer answers."""
    own, peer = (pair["address"], 0), (pair["peer_address"], pair["port"])
    with (
        socket.create_connection(peer, timeout=PAUSE, source_address=own) as plain,
        context(ssl.Purpose.SERVER_AUTH).wrap_socket(
            plain, server_hostname=pair["peer"], do_handshake_on_connect=False
        ) as connection,
    ):
        connection.settimeout(PATIENCE)
        connection.do_handshake()
        told = connection.makefile("rb").read(LARGEST)
    offered: dict[str, Any] = json.loads(told)
    if offered.keys() != {"text", "since", "serving"}:
        raise ValueError(f"found {told[:80]!r}, wanted a ruleset")
    return offered


def answer(pair: dict[str, Any]) -> None:
    """To the peer alone: what is confirmed here, since when, and whether this member takes part in VRRP."""
    with socket.socket(fileno=os.dup(sys.stdin.fileno())) as plain:
        plain.settimeout(PATIENCE)
        with context(ssl.Purpose.CLIENT_AUTH).wrap_socket(plain, server_side=True) as connection:
            names = (connection.getpeercert() or {}).get("subjectAltName", ())
            if ("DNS", pair["peer"]) not in names:
                sys.exit(f"refused: found a certificate for {names}, wanted {pair['peer']}'s")
            connection.sendall(json.dumps({**ruleset("confirmed"), "serving": serving()}).encode())
            connection.unwrap()


def serving() -> bool:
    """Whether keepalived says that this member is one of two."""
    return STATE.exists() and STATE.read_text().strip() in ("primary", "backup")


def context(purpose: ssl.Purpose) -> ssl.SSLContext:
    """Both ends show the certificate of their machine."""
    made = ssl.create_default_context(purpose, cafile=str(TLS / "ca.crt"))
    made.verify_mode = ssl.CERT_REQUIRED
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.load_cert_chain(TLS / "machine.crt", TLS / "machine.key")
    return made


def ruleset(verb: str, text: str = "") -> dict[str, Any]:
    """Has qhs-ruleset, which alone owns the table and its file, do something."""
    done = subprocess.run([RULESET, verb], input=text, capture_output=True, text=True, check=False)
    answered: dict[str, Any] = json.loads(done.stdout)
    return answered


if __name__ == "__main__":
    main("".join(sys.argv[1:]))
