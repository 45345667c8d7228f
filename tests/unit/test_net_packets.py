"""What the probe asks a real service is a well-formed question of its protocol."""

from __future__ import annotations

import struct

from qhs.net.probe.packets import question


def test_a_name_server_is_asked_one_whole_question() -> None:
    datagram, mark = question(53)
    identity, flags, *counts = struct.unpack("!6H", datagram[:12])
    assert (struct.pack("!H", identity), flags, counts) == (mark, 0x0100, [1, 0, 0, 0])
    assert datagram[12:] == b"\0\0\x02\0\x01"  # the root, NS, IN


def test_a_time_server_is_asked_as_a_client_of_version_4() -> None:
    datagram, mark = question(123)
    assert len(datagram) == 48
    assert datagram[0] == (4 << 3 | 3)
    assert datagram[40:] == mark


def test_any_other_service_is_asked_with_a_token_of_its_own() -> None:
    (one, mark), (two, _) = question(514), question(514)
    assert one == mark != two
