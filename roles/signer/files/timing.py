"""How far the clock of this host is from those of the estate's time servers, asked by SNTP (RFC 4330)."""

import os
import socket
import time
from statistics import median_low

PORT, PATIENCE = 123, 2
MOST = 1.0  # seconds (C-TSA-02)
_EPOCH = 2_208_988_800  # seconds from 1900, NTP's beginning, to 1970
_QUESTION = b"\x23" + bytes(39)  # version 4, a client; then its time, which is a random number: only we know it
_LONG = 48
_SERVES, _NO_REFERENCE = 4, 16


def clock_off(servers: list[str]) -> str:
    """Why no time of this clock may be vouched for; empty: it may."""
    offsets = [one for server in servers if (one := _offset(server)) is not None]
    if not offsets:
        return f"none of the time servers {', '.join(servers)} answers"
    if abs(offset := median_low(offsets)) > MOST:
        return f"the clock is {offset:+.1f} s off by the time servers; wanted {MOST} s at most"
    return ""


def _offset(server: str) -> float | None:
    """Seconds that a server is ahead; None: it does not answer, or does not know the time."""
    mark = os.urandom(8)
    try:
        with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(PATIENCE)
            asking.connect((server, PORT))
            sent = time.time()
            asking.send(_QUESTION + mark)
            answer = asking.recv(512)
            came = time.time()
    except OSError:
        return None
    if len(answer) < _LONG or answer[24:32] != mark or answer[0] & 7 != _SERVES or not 0 < answer[1] < _NO_REFERENCE:
        return None
    received, transmitted = _seconds(answer[32:40]), _seconds(answer[40:48])
    return ((received - sent) + (transmitted - came)) / 2


def _seconds(stamp: bytes) -> float:
    return int.from_bytes(stamp) / 2**32 - _EPOCH
