"""Talks without being asked: each side of each conversation says a byte every few moments, whatever it hears.

Its argument is JSON: `listen` and `connect` are lists of [protocol, address, port, how many]; `flood` is a list of
[address, port] that get 300 datagrams and SYNs a second, `torrent` of those that get as many datagrams as a core sends;
`beat` is the seconds between two bytes. For each line that it reads it says how many conversations it had, in how many
it was spoken to within the last second, how many were reset, and how many packets it sent in its flood.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from contextlib import suppress

told = json.loads(sys.argv[1])
BEAT = told.get("beat", 0.02)
lock = threading.Lock()
heard: dict[socket.socket, float] = {}
"""When somebody last spoke in each conversation."""
found = {"conversations": 0, "alive": 0, "reset": 0, "flood": 0}


def family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def talk(one: socket.socket) -> None:
    one.setblocking(False)
    with lock:
        heard[one] = 0
        found["conversations"] += 1


def beat() -> None:
    """One thread says everything: hundreds of them would wake each other up all the time."""
    while True:
        time.sleep(BEAT)
        with lock:
            for one in list(heard):
                try:
                    one.send(b"x")
                    while one.recv(4096):
                        heard[one] = time.monotonic()
                except (ConnectionResetError, BrokenPipeError):
                    del heard[one]
                    found["reset"] += 1
                except OSError:
                    pass  # nothing to hear, no room to say more, or a message of ICMP: it goes on


def listen(protocol: str, address: str, port: int) -> None:
    if protocol == "tcp":
        server = socket.create_server((address, port), family=family(address), backlog=512)
        while True:
            talk(server.accept()[0])
    one = socket.socket(family(address), socket.SOCK_DGRAM)
    one.bind((address, port))
    one.connect(one.recvfrom(64)[1])
    talk(one)


def connect(protocol: str, address: str, port: int) -> None:
    if protocol == "udp":
        one = socket.socket(family(address), socket.SOCK_DGRAM)
        one.connect((address, port))
        talk(one)
        return
    talk(socket.create_connection((address, port), timeout=20))


def flood(address: str, port: int) -> None:
    datagrams = socket.socket(family(address), socket.SOCK_DGRAM)
    while True:
        stream = socket.socket(family(address), socket.SOCK_STREAM)
        stream.setblocking(False)
        stream.connect_ex((address, port))
        for _ in range(5):
            datagrams.sendto(b"x", (address, port))
        stream.close()
        found["flood"] += 6
        time.sleep(0.02)


def torrent(address: str, port: int) -> None:
    datagrams = socket.socket(family(address), socket.SOCK_DGRAM)
    datagrams.connect((address, port))
    while True:
        with suppress(OSError):
            datagrams.send(b"x")


def started() -> None:
    for protocol, address, port in told.get("listen", []):
        threading.Thread(target=listen, args=(protocol, address, port), daemon=True).start()
    for way in (flood, torrent):
        for where in told.get(way.__name__, []):
            threading.Thread(target=way, args=where, daemon=True).start()
    for protocol, address, port, count in told.get("connect", []):
        for _ in range(count):
            connect(protocol, address, port)
    threading.Thread(target=beat, daemon=True).start()


started()
print("started", flush=True)
for _ in sys.stdin:
    with lock:
        found["alive"] = sum(time.monotonic() - last < 1 for last in heard.values())
        print(json.dumps(found), flush=True)
