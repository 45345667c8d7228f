"""What the stores of metrics say, asked on their own machines."""

from __future__ import annotations

import json
import shlex
from typing import Any

from tests.twin.hosts import Hosts

# Asks over TLS from the machine itself, with the certificate and key given, or with none.
ASK = """
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile="/etc/qhs/tls/ca.crt")
context.check_hostname = False  # the loopback is in nobody's certificate
if sys.argv[2:]:
    context.load_cert_chain(*sys.argv[2:])
try:
    print(urllib.request.urlopen(sys.argv[1], context=context, timeout=10).read().decode())
except OSError as error:
    print("refused:", error)
"""
OWN = ("/etc/qhs/tls/machine.crt", "/etc/qhs/tls/machine.key")


def asking(url: str, *shown: str) -> str:
    """A command that prints what is there."""
    return shlex.join(["python3", "-c", ASK, url, *shown])


def asked(hosts: Hosts, store: str, path: str) -> Any:
    """What the API of a store answers."""
    return json.loads(hosts.say(asking(f"https://127.0.0.1:9090/api/v1/{path}", *OWN), [store])[store])["data"]


def firing(hosts: Hosts, store: str) -> set[tuple[str, str]]:
    """Alerts, each with the machine that it is of."""
    found = asked(hosts, store, "alerts")["alerts"]
    return {
        (one["labels"]["alertname"], one["labels"].get("instance", "-")) for one in found if one["state"] == "firing"
    }
