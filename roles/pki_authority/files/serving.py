"""The service: machines ask for their next certificates over TLS, with the one that they have."""

from __future__ import annotations

import json
import os
import selectors
import socket
import ssl
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, cast

from cryptography import x509
from issuing import SERVER_FOR, RefusedError, audit, entitled
from renewing import Renewals

LARGEST = 16_384  # bytes of a request
PATIENCE = 10  # seconds for a connection's next word
IDLE = 120  # seconds without a request after which the service ends; the socket stays, and starts it again


class Service(ThreadingMixIn, HTTPServer):
    """On a socket that systemd holds. A slow client holds up nobody: handshakes are in threads too."""

    def __init__(self, listening: socket.socket, context: ssl.SSLContext, renewals: Renewals) -> None:
        super().__init__(listening.getsockname(), Handler, bind_and_activate=False)
        self.socket.close()
        self.socket, self.context, self.renewals = listening, context, renewals

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the thread of the request."""
        request.settimeout(PATIENCE)
        try:
            with self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False) as secure:
                _greet(secure)
                super().finish_request(secure, client_address)
        except OSError as error:
            audit("refused", client=client_address[0], reason=str(error).replace(" ", "_"))


def _greet(secure: ssl.SSLSocket) -> None:
    """Raises SSLError for a certificate that is no good; the client has been told why.

    It is sending its request by then: a close before the end of it resets the connection, and the reason is lost.
    """
    try:
        secure.do_handshake()
    except ssl.SSLError:
        secure.shutdown(socket.SHUT_WR)
        unread = LARGEST
        with suppress(OSError):
            while unread > 0 and (part := secure.recv(unread)):
                unread -= len(part)
        raise


class Handler(BaseHTTPRequestHandler):
    """`POST /renew`, with the request as JSON."""

    server: Service

    def do_POST(self) -> None:
        """Answer with the certificates, or with why not."""
        renewals = self.server.renewals
        shown = x509.load_der_x509_certificate(self.connection.getpeercert(binary_form=True))
        try:
            names = entitled(shown, renewals.authority.certificate.subject)
            self._answer(200, renewals.issue(self._request(), names, datetime.now(UTC)))
        except RefusedError as error:
            audit("refused", client=self.client_address[0], shown=shown.subject.rfc4514_string(), reason=error)
            self._answer(403, {"error": str(error)})

    def _request(self) -> dict[str, str]:
        if self.path != "/renew":
            raise RefusedError(f"found {self.path}, wanted /renew")
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= LARGEST:
            raise RefusedError(f"found {length} bytes, wanted 1 to {LARGEST}")
        try:
            return cast(dict[str, str], json.loads(self.rfile.read(length)))
        except ValueError:
            raise RefusedError("found no JSON") from None

    def _answer(self, code: int, content: dict[str, str]) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The journal has what matters already."""


def speaking(certificate: bytes, root: Path) -> ssl.SSLContext:
    """TLS with this certificate (and its key), for those who show one under the root."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(root)
    with tempfile.NamedTemporaryFile(dir=os.environ["RUNTIME_DIRECTORY"]) as file:
        file.write(certificate)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def serve(renewals: Renewals, names: Sequence[str], root: Path) -> None:
    """On the sockets that systemd passes, until nobody asks any more or the certificate is half over."""
    now = datetime.now(UTC)
    context = speaking(renewals.authority.server(names, now), root)
    with selectors.DefaultSelector() as waiting:
        for number in range(int(os.environ["LISTEN_FDS"])):
            listening = socket.socket(fileno=3 + number)
            waiting.register(listening, selectors.EVENT_READ, Service(listening, context, renewals))
        while datetime.now(UTC) < now + SERVER_FOR / 2 and (ready := waiting.select(IDLE)):
            for key, _ in ready:
                key.data.handle_request()
