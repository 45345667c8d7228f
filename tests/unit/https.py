"""A service of HTTPS on the loopback, with a certificate of its own."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


def certify(tls: Path, address: str) -> None:
    """The files of a machine that vouches for itself, in a new folder."""
    tls.mkdir()
    files = ("-keyout", tls / "machine.key", "-out", tls / "machine.crt", "-addext", f"subjectAltName=IP:{address}")
    kind = ("-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=node")
    subprocess.run(["openssl", "req", *kind, *files], check=True, capture_output=True)
    (tls / "ca.crt").write_bytes((tls / "machine.crt").read_bytes())


@contextmanager
def server(tls: Path, address: str, port: int, answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """One that answers a single question, with what `answer` makes of it. Its port; 0: any that is free."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(b"")

        def do_POST(self) -> None:
            self._say(self.rfile.read(int(self.headers["Content-Length"])))

        def _say(self, given: bytes) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer(given))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls / "machine.crt", tls / "machine.key")
    with HTTPServer((address, port), Answering) as own:
        own.socket = context.wrap_socket(own.socket, server_side=True)
        thread = threading.Thread(target=own.handle_request)
        thread.start()
        yield own.server_port
        thread.join(10)
