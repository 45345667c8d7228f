"""A proxy that knows a few names: whoever asks for one is led there, anybody else nowhere."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from stacks.provider.carried import Carried
from stacks.provider.doors import always_led, opened


def echoing() -> Carried:
    """A far end that says again what it hears, in capitals."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs:
            while part := theirs.recv(1024):
                theirs.sendall(part.upper())

    threading.Thread(target=serve, daemon=True).start()
    return Carried(ours)


@pytest.fixture
def ask() -> Iterator[Callable[[str], bytes]]:
    with opened({"store.example:443": echoing}) as at:
        proxy = urlsplit(at)

        def asked(request: str) -> bytes:
            with socket.create_connection((proxy.hostname, proxy.port or 0), 5) as stream:
                stream.sendall(request.encode())
                said = stream.recv(1024)
                if b" 200 " in said:
                    stream.sendall(b"hello")
                    said += stream.recv(1024)
                return said

        yield asked


def test_what_speaks_to_no_proxy_is_led_there_by_a_port() -> None:
    port = always_led(echoing)
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", port), 5) as stream:
            stream.sendall(b"hello")
            assert stream.recv(1024) == b"HELLO"


def test_whoever_asks_for_a_name_that_it_knows_is_led_there(ask: Callable[[str], bytes]) -> None:
    assert ask("CONNECT store.example:443 HTTP/1.1\r\nHost: x\r\n\r\n").endswith(b"\r\n\r\nHELLO")


@pytest.mark.parametrize(
    "request_line",
    ["CONNECT other.example:443 HTTP/1.1", "CONNECT store.example:22 HTTP/1.1", "GET store.example:443 HTTP/1.1", "x"],
)
def test_anybody_else_is_led_nowhere(ask: Callable[[str], bytes], request_line: str) -> None:
    assert ask(f"{request_line}\r\n\r\n") == b"HTTP/1.1 403 Forbidden\r\n\r\n"


def test_one_that_hangs_keeps_nobody_else_waiting() -> None:
    with opened({"store.example:443": echoing}) as at:
        proxy = urlsplit(at)
        with socket.create_connection((proxy.hostname, proxy.port or 0), 5):
            other = http.client.HTTPConnection(proxy.hostname or "", proxy.port, timeout=5)
            other.set_tunnel("other.example", 443)
            with pytest.raises(OSError, match="403"):
                other.connect()


def test_a_stream_that_ends_ends_on_both_sides() -> None:
    far, theirs = socket.socketpair()
    with opened({"store.example:443": lambda: Carried(far)}) as at:
        proxy = urlsplit(at)
        with socket.create_connection((proxy.hostname, proxy.port or 0), 5) as stream:
            stream.sendall(b"CONNECT store.example:443 HTTP/1.1\r\n\r\n")
            assert b" 200 " in stream.recv(1024)
            theirs.close()
            assert stream.recv(1) == b""


def test_a_process_ends_though_its_proxy_is_open() -> None:
    """Nothing of it is waited for by then: the thread that serves is gone before what it served."""
    ends = "from stacks.provider.doors import always_open; print(always_open({}))"
    done = subprocess.run([sys.executable, "-c", ends], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.startswith("http://127.0.0.1:")
