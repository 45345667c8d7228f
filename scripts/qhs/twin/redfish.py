"""The power switches of a twin's machines, spoken to as those of real ones are: Redfish over TLS.

Run as a program (`python -m qhs.twin.redfish TWIN`) inside the twin's namespace; `qhs up` does. At each operator's
address it serves the machines that have their management port on that operator's bridge.
"""

import base64
import hmac
import json
import ssl
import sys
import threading
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from qhs.errors import UserError
from qhs.lock import in_turn
from qhs.progress import silent
from qhs.twin import boot, endpoint
from qhs.twin.names import Twin
from qhs.twin.standing import Standing, state
from qhs.twin.start import start

ROOT = "/redfish/v1"
SYSTEMS = f"{ROOT}/Systems"
RESET = "Actions/ComputerSystem.Reset"
RESETS = ("On", "ForceOff", "ForceRestart")
_LONGEST_REQUEST = 4096
_PATIENCE = 15.0
"""Seconds for a client to say what it wants."""

type Answer = tuple[HTTPStatus, dict[str, Any]]
type Answers = Callable[[str, str, bytes], Answer]
"""Of a method, a path and a body."""


class Systems(Protocol):
    """Machines with a power switch."""

    def names(self) -> list[str]: ...

    def powered(self, name: str) -> bool: ...

    def reset(self, name: str, how: str) -> None:
        """`how` is one of RESETS. Raises UserError."""


def answer(systems: Systems, method: str, path: str, body: bytes) -> Answer:
    """What an authenticated request is answered with."""
    path = path.rstrip("/")
    known = {f"{SYSTEMS}/{name}": name for name in systems.names()}
    if method == "GET":
        if path == ROOT:
            return HTTPStatus.OK, _root()
        if path == SYSTEMS:
            return HTTPStatus.OK, _collection(known)
        if path in known:
            return HTTPStatus.OK, _system(path, known[path], systems.powered(known[path]))
    elif method == "POST" and (name := known.get(path.removesuffix(f"/{RESET}"))) and path.endswith(RESET):
        return _reset(systems, name, body)
    return error(HTTPStatus.NOT_FOUND, f"there is no {path} to {method}")


def _reset(systems: Systems, name: str, body: bytes) -> Answer:
    try:
        how = json.loads(body)["ResetType"]
    except (ValueError, KeyError, TypeError):
        how = None
    if how not in RESETS:
        return error(HTTPStatus.BAD_REQUEST, f"ResetType must be one of {', '.join(RESETS)}")
    try:
        systems.reset(name, how)
    except UserError as refused:
        return error(HTTPStatus.INTERNAL_SERVER_ERROR, str(refused))
    return HTTPStatus.NO_CONTENT, {}


def _root() -> dict[str, Any]:
    return {
        "@odata.type": "#ServiceRoot.v1_5_0.ServiceRoot",
        "@odata.id": f"{ROOT}/",
        "Id": "RootService",
        "Name": "Power of the twin's machines",
        "RedfishVersion": "1.5.0",
        "Systems": {"@odata.id": SYSTEMS},
    }


def _collection(known: dict[str, str]) -> dict[str, Any]:
    return {
        "@odata.type": "#ComputerSystemCollection.ComputerSystemCollection",
        "@odata.id": SYSTEMS,
        "Name": "Machines",
        "Members@odata.count": len(known),
        "Members": [{"@odata.id": path} for path in known],
    }


def _system(path: str, name: str, powered: bool) -> dict[str, Any]:
    return {
        "@odata.type": "#ComputerSystem.v1_10_0.ComputerSystem",
        "@odata.id": path,
        "Id": name,
        "Name": name,
        "PowerState": "On" if powered else "Off",
        "Actions": {
            "#ComputerSystem.Reset": {"target": f"{path}/{RESET}", "ResetType@Redfish.AllowableValues": list(RESETS)}
        },
    }


def error(status: HTTPStatus, message: str) -> Answer:
    return status, {"error": {"code": "Base.1.0.GeneralError", "message": message}}


class Machines:
    """The machines of a twin that one operator reaches. `bridge`: the operator's."""

    def __init__(self, twin: Twin, bridge: str) -> None:
        self._twin, self._bridge = twin, bridge

    def names(self) -> list[str]:
        every = Standing.load(self._twin).topology.managed
        return [machine.name for machine in every if any(leg.bridge == self._bridge for leg in machine.legs)]

    def powered(self, name: str) -> bool:
        return state(self._twin, name) != "off"

    def reset(self, name: str, how: str) -> None:
        with in_turn(self._twin.lock, f"power of {name}", silent):
            if how != "On":
                boot.power_off(self._twin, [name])
            if how != "ForceOff" and not self.powered(name):
                standing = Standing.load(self._twin)
                start(self._twin, standing, [standing.machine(name)])


def handler(
    answers: Callable[[str, str, bytes], Answer], allowed: Callable[[str], bool]
) -> type[BaseHTTPRequestHandler]:
    """What serves answers to method, path and body to whom `allowed` lets in by the Authorization header; it logs."""

    class Handler(BaseHTTPRequestHandler):
        timeout = _PATIENCE

        def do_GET(self) -> None:
            self._answer(b"")

        def do_PATCH(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if 0 <= length <= _LONGEST_REQUEST:
                self._answer(self.rfile.read(length))
            else:
                self._send(*error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {_LONGEST_REQUEST} bytes"))

        def _answer(self, body: bytes) -> None:
            # Redfish shows its root to strangers, and nothing else.
            if self.path.rstrip("/") != ROOT and not allowed(self.headers.get("Authorization", "")):
                self._send(*error(HTTPStatus.UNAUTHORIZED, "not without the password"))
            else:
                self._send(*answers(self.command, self.path, body))

        def _send(self, status: HTTPStatus, told: dict[str, Any]) -> None:
            text = json.dumps(told).encode() if status != HTTPStatus.NO_CONTENT else b""
            self.send_response(status)
            if status == HTTPStatus.UNAUTHORIZED:
                self.send_header("WWW-Authenticate", 'Basic realm="power"')
            self.send_header("Content-Type", "application/json")
            self.send_header("OData-Version", "4.0")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    return Handler


def password_is(user: str, password: str) -> Callable[[str], bool]:
    """Whether an Authorization header holds this user and password."""
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return lambda header: hmac.compare_digest(header.encode(), wanted.encode())


class Server(ThreadingHTTPServer):
    def __init__(self, address: str, port: int, handle: type[BaseHTTPRequestHandler], tls: ssl.SSLContext) -> None:
        super().__init__((address, port), handle)
        # Hands are shaken in the thread of each connection, so that a silent client keeps nobody else waiting.
        self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)


def serve(twin: Twin) -> None:
    """Serve every operator of the twin until a signal ends us."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(endpoint.certificate(twin), endpoint.key(twin))
    allowed = password_is(endpoint.USER, endpoint.password(twin).read_text())
    threads = []
    for operator in Standing.load(twin).topology.operators:
        answers = partial(answer, Machines(twin, operator.bridge))
        server = Server(endpoint.address(operator), endpoint.PORT, handler(answers, allowed), tls)
        threads.append(threading.Thread(target=server.serve_forever))
        threads[-1].start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    serve(Twin(sys.argv[1]))
