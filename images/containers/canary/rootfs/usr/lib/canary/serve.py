"""Answers on the port of pods, by a certificate that it renews itself."""

import json
import signal
import ssl
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from socket import AF_INET6, socket
from typing import Any

from given import PEM, settings

RENEW, AGAIN = 24 * 3600, 10
"""Seconds after which it asks for another certificate, and after which once more where it got none."""


class Answer(BaseHTTPRequestHandler):
    """Who it is. That it answers says how it is."""

    timeout = 10

    def do_GET(self) -> None:
        """Any path."""
        own = settings()
        self._say(200, {name: own[name] for name in ("tenant", "site", "build")})

    def do_POST(self) -> None:
        """A row of a drill, where the application is the one of drills; what it needs is in no other's memory."""
        if not settings()["drills"]:
            self._say(405, {"error": "found POST; wanted GET"})
            return
        numbered = import_module("numbered")
        self._say(*numbered.answered(self.path, self.headers.get("Authorization", "")))

    def _say(self, status: int, told: dict[str, Any]) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nobody reads that somebody asked."""


class Server(ThreadingHTTPServer):
    """Each handshake is its caller's own, so that one who stays silent makes nobody wait."""

    address_family = AF_INET6  # and by that of the other family too
    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(("::", settings()["port"]), Answer)

    def finish_request(self, request: socket, client_address: Any) -> None:
        """In a thread of this caller."""
        request.settimeout(Answer.timeout)
        with self._context.wrap_socket(request, server_side=True) as encrypted:
            super().finish_request(encrypted, client_address)

    def handle_error(self, *_: Any) -> None:
        """Who hangs up in the middle is no news."""


def certified() -> bool:
    """Whether the store signed; in a process of its own, whose libraries do not stay."""
    program = Path(__file__).with_name("certificate.py")
    return subprocess.run([sys.executable, "-B", program, PEM], check=False).returncode == 0


def renew(context: ssl.SSLContext) -> None:
    """For ever. What it has stays until there is another."""
    while True:
        time.sleep(RENEW)
        while not certified():
            time.sleep(AGAIN)
        context.load_cert_chain(PEM)


def forever() -> None:
    """Once there is a certificate, and until the node wants it to end: the first process of a pod is told so by nothing
    that it does not listen to."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    while not certified():
        time.sleep(AGAIN)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(PEM)
    threading.Thread(target=renew, args=[context], daemon=True).start()
    Server(context).serve_forever()
