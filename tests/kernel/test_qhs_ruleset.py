"""`qhs-ruleset` on a machine of its own: a network and a mount namespace with an empty /etc/qhs and /run."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from select import select

import pytest

from stacks.model.rules import Rule
from stacks.provider.ruleset.nft import render
from tests.kernel.place import Place, digest
from tests.twin.waiting import await_

OPEN = render([("loopback", Rule("input", iif="lo"))], {})
OTHER = render([("tracked", Rule("input", states=("established",)))], {})
# As a cluster's proxy, networkd and a guard of logins keep theirs.
OTHERS = """
table ip kube-proxy {
    map service-ips {
        type ipv4_addr . inet_proto . inet_service : verdict
        elements = { 10.96.0.1 . tcp . 443 : goto service-api }
    }
    chain service-api { numgen random mod 2 vmap { 0 : goto endpoint-1, 1 : goto endpoint-1 }; }
    chain endpoint-1 { meta l4proto tcp counter packets 7 bytes 420 dnat to 10.40.0.9:6443; }
    chain nat-prerouting {
        type nat hook prerouting priority dstnat;
        ip daddr . meta l4proto . th dport vmap @service-ips
    }
}
table inet io.systemd.nat {
    set masq_saddr { type ipv4_addr; flags interval; elements = { 192.0.2.0/24 }; }
    chain postrouting { type nat hook postrouting priority srcnat + 1; ip saddr @masq_saddr masquerade; }
}
table inet f2b-table {
    set addr-set-sshd { type ipv4_addr; elements = { 198.51.100.7, 203.0.113.9 }; }
    chain f2b-chain {
        type filter hook input priority filter - 1; policy accept;
        tcp dport 22 ip saddr @addr-set-sshd counter packets 3 bytes 180 reject
    }
}
"""
# Whatever a table may hold; and chains of ours that let pass, or stand elsewhere.
STRANGE = """
table inet qhs {
    counter seen { }
    quota much { over 1 mbytes }
    limit often { rate 1/second }
    ct helper ftp { type "ftp" protocol tcp; }
    set met { type ipv4_addr; size 16; flags dynamic; }
    set few { type ipv4_addr; elements = { 192.0.2.1 }; }
    map ways { type ipv4_addr : verdict; elements = { 192.0.2.1 : jump aside }; }
    chain aside { accept; }
    chain input {
        type filter hook input priority filter; policy accept;
        tcp dport 1 jump aside
        tcp dport 2 jump { counter accept; }
        ip saddr vmap @ways
        ip saddr @few quota name "much" limit name "often" counter name "seen"
        ip saddr { 192.0.2.1, 192.0.2.2 } ct helper set "ftp"
        tcp dport 3 add @met { ip saddr limit rate 1/second }
        tcp dport 4 meter own { ip saddr limit rate 1/second } accept
    }
}
"""
MOVED = """
delete chain inet qhs output
table inet qhs {
    chain output { type filter hook output priority 7; policy accept; }
}
"""
FIRST = render([("first", Rule("input", iif="mgmt-ports"))], {})


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    here = Place(tmp_path, 30)
    yield here
    here.end()


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Place]:
    here = Place(tmp_path, 2)
    yield here
    here.end()


def test_confirmed_ruleset_is_enforced_and_loaded_at_boot(place: Place) -> None:
    place.keep(OPEN)
    assert place.names() == ["guard:loopback"]
    place.shell("nft", "delete", "table", "inet", "qhs")
    assert place.local("boot") == {"loaded": "/etc/qhs/ruleset.nft", "faults": []}
    assert place.names() == ["guard:loopback"]
    assert (place.etc / "ruleset.nft").stat().st_mode & 0o777 == 0o600


def test_read_shows_kernel_confirmed_and_pending(place: Place) -> None:
    assert place.ask("read") == {"confirmed": None, "resource": None, "pending": None, "nft": None}
    place.keep(OPEN)
    place.apply(OTHER)
    answer = place.ask("read")
    assert (answer["confirmed"], answer["pending"]) == (digest(OPEN), digest(OTHER))
    assert [one["rule"]["comment"] for one in answer["nft"]["nftables"] if "rule" in one] == ["guard:tracked"]


def test_read_says_which_resource_wrote_what_is_confirmed(place: Place) -> None:
    place.keep(f"# site/one urn:pulumi:a::b::c$d::e\n{OPEN}")
    place.apply(f"# site/two urn:pulumi:f\n{OTHER}")
    assert place.ask("read")["resource"] == "site/one urn:pulumi:a::b::c$d::e"


STAYS = [
    # nft shows these destinations as one range.
    ("stays", Rule("input", iif="lo", family="ip", destinations=("127.0.0.0/31", "127.0.0.2/32"))),
    ("own-loopback", Rule("output", oif="lo")),
]
SEND = """
import socket
for _ in range(5):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"", ("127.0.0.1", 9))
"""


def test_rules_that_stay_keep_their_counters(hasty: Place) -> None:
    """Beside others that come and go, and on the way back."""
    hasty.keep(render([("loopback", Rule("input", iif="lo", family="ip6")), *STAYS], {}))
    hasty.shell("ip", "link", "set", "lo", "up")
    hasty.shell(sys.executable, "-c", SEND)
    before = hasty.counters()
    assert before["guard:stays"] >= 5
    hasty.apply(render([("tracked", Rule("input", states=("established",))), *STAYS], {}))
    assert hasty.counters() == {
        "guard:tracked": 0,
        **{name: before[name] for name in ("guard:stays", "guard:own-loopback")},
    }
    hasty.until(["guard:loopback", "guard:stays", "guard:own-loopback"])
    assert hasty.counters() == before


def test_counting_begins_anew_where_another_hand_took_a_rule_away(place: Place) -> None:
    place.keep(render(STAYS, {}))
    place.shell("ip", "link", "set", "lo", "up")
    place.shell(sys.executable, "-c", SEND)
    place.shell("nft", "flush", "chain", "inet", "qhs", "output")
    place.keep(render(STAYS, {}))
    assert set(place.counters().values()) == {0}


def test_what_is_not_confirmed_is_undone(hasty: Place) -> None:
    hasty.keep(OPEN)
    hasty.apply(OTHER)
    assert hasty.names() == ["guard:tracked"]
    hasty.until(["guard:loopback"])
    assert hasty.ask("read")["pending"] is None
    assert hasty.refused(f"confirm {digest(OTHER)}") == "nothing-pending"


def test_a_timer_that_died_is_made_up_for_by_the_next_call(hasty: Place) -> None:
    hasty.keep(OPEN)
    waiting = {"hash": digest(OTHER), "until": 0, "text": OTHER, "previous": OPEN}
    hasty.shell("nft", "-f", "-", text="delete table inet qhs\n" + OTHER)
    (hasty.run / "pending.json").write_text(json.dumps(waiting))
    assert hasty.ask("read")["pending"] is None
    assert hasty.names() == ["guard:loopback"]


def test_a_confirmation_cut_off_after_the_file_is_not_undone(hasty: Place) -> None:
    hasty.keep(OPEN)
    hasty.apply(OTHER)
    (hasty.etc / "ruleset.nft").write_text(OTHER)
    time.sleep(2.5)
    assert hasty.names() == ["guard:tracked"]
    assert hasty.ask(f"confirm {digest(OTHER)}") == {"confirmed": digest(OTHER)}


def test_second_apply_waits_for_the_first(place: Place) -> None:
    place.apply(OPEN)
    for word in ("check", "apply"):
        assert place.refused(f"{word} {digest(OTHER)}", OTHER) == "pending"
    assert place.names() == ["guard:loopback"]


def test_of_two_at_once_one_is_applied_and_the_other_waits(place: Place) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(place.apply, [OPEN, OTHER]))
    assert sorted(next(iter(answer)) for answer in answers) == ["applied", "error"]
    assert next(one["error"]["code"] for one in answers if "error" in one) == "pending"
    wanted = {digest(OPEN): ["guard:loopback"], digest(OTHER): ["guard:tracked"]}
    assert place.names() == wanted[next(one["applied"] for one in answers if "applied" in one)]


def test_other_tables_are_untouched(hasty: Place) -> None:
    assert hasty.shell("nft", "-f", "-", text=OTHERS).returncode == 0
    before = others(hasty)
    hasty.keep(OPEN)
    hasty.apply(OTHER)
    await_(lambda: hasty.names() == ["guard:loopback"])  # nobody confirms
    hasty.keep(OTHER)
    hasty.local("boot")
    assert others(hasty) == before
    assert len(before) == OTHERS.count("\ntable ")


def test_what_another_hand_put_into_our_table_goes_with_the_next_ruleset(place: Place) -> None:
    place.keep(OPEN)
    clean = place.table()
    assert place.shell("nft", "-f", "-", text=STRANGE).returncode == 0
    assert place.shell("nft", "-f", "-", text=MOVED).returncode == 0
    assert "policy accept" in place.table()
    place.keep(OPEN)
    assert place.table() == clean


def others(place: Place) -> dict[str, str]:
    """Every table but ours as the kernel shows it: rules, handles, counters, sets, maps and their elements."""
    tables = place.shell("nft", "list", "tables").stdout.splitlines()
    return {one: place.shell("nft", "--handle", "list", *one.split()).stdout for one in tables if "qhs" not in one}


def test_boot_falls_back_to_first_boot_and_then_denies_everything(place: Place) -> None:
    assert place.local("boot")["error"]["code"] == "boot"
    assert place.names() == []
    assert place.table().count("policy drop") == 3
    (place.etc / "first-boot.nft").write_text(FIRST)
    assert place.local("boot")["loaded"] == "/etc/qhs/first-boot.nft"


@pytest.mark.parametrize("content", [b"\xff" + OPEN.encode(), OPEN[:-20].encode(), b"", None])
def test_boot_with_an_unreadable_ruleset_loads_what_lets_a_repair_in(place: Place, content: bytes | None) -> None:
    (place.etc / "first-boot.nft").write_text(FIRST)
    confirmed = place.etc / "ruleset.nft"
    # A folder stands for a file that the disk does not give back.
    confirmed.mkdir() if content is None else confirmed.write_bytes(content)
    answer = place.local("boot")
    assert answer["loaded"] == "/etc/qhs/first-boot.nft"
    assert "/etc/qhs/ruleset.nft: " in answer["faults"][0]
    assert place.names() == ["guard:first"]


def test_boot_with_nothing_but_unreadable_files_denies_everything(place: Place) -> None:
    for name in ("first-boot.nft", "ruleset.nft"):
        (place.etc / name).write_bytes(b"\xff" + OPEN.encode())
    assert "everything is denied" in place.local("boot")["error"]["message"]
    assert place.table().count("policy drop") == 3
    assert place.names() == []


def test_an_unreadable_ruleset_on_the_disk_does_not_keep_a_good_one_away(place: Place) -> None:
    (place.etc / "ruleset.nft").write_bytes(b"\xff")
    place.keep(OPEN)
    assert place.names() == ["guard:loopback"]


def inside(line: str) -> str:
    """The open ruleset with one more line in its first chain."""
    return OPEN.replace("\t\tiifname", f"\t\t{line}\n\t\tiifname")


@pytest.mark.parametrize(
    "text",
    [
        OPEN + "table ip other {\n}\n",
        OPEN.replace("qhs", "other"),
        'include "/etc/shadow"\n' + OPEN,
        inside('include "/etc/shadow"'),
        inside('iifname "a" counter accept comment "x"; } } table ip other { chain x {'),
        inside('iifname "a" } counter accept comment "x"'),
        inside('counter jump other comment "x"'),
        inside("iifname $x counter accept"),
        OPEN.replace("\tchain forward", "\tchain extra"),
        OPEN.replace("policy drop", "policy accept"),
        "flush ruleset\n" + OPEN,
        "# site/one urn:x\n" * 2 + OPEN,
        "# site/one urn:x;\n" + OPEN,
        "# site/one urn:x \\\n" + OPEN,
        OPEN[:-2],
        "",
    ],
)
def test_anything_but_our_table_is_refused(place: Place, text: str) -> None:
    assert place.refused(f"apply {digest(text)}", text) == "refused"
    assert place.table() == ""


@contextmanager
def watched(place: Place) -> Iterator[list[str]]:
    """What the kernel tells of every change of any table, as it happens."""
    command = ["nsenter", f"--target={place.init.pid}", "--net", "nft", "monitor"]
    watcher = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    told: list[str] = []
    assert watcher.stdout
    try:
        while not select([watcher.stdout], [], [], 0.1)[0]:  # it listens once it tells of this
            place.shell("nft", "add table ip watched; delete table ip watched")
        yield told
        place.shell("nft", "add", "table", "ip", "end")
        told += takewhile(lambda line: "table ip end" not in line, watcher.stdout)
    finally:
        watcher.kill()
        watcher.wait()
    told[:] = [line for line in told if " ip watched" not in line and not line.startswith("#")]


def test_what_nft_does_not_take_changes_nothing(place: Place) -> None:
    """Not for a moment either: the kernel tells of no change."""
    place.keep(OPEN)
    wrong = OPEN.replace('iifname "lo"', "tcp dport 99999")
    with watched(place) as told:
        for words in ("check", "apply"):
            answer = place.ask(f"{words} {digest(wrong)}", wrong)
            assert answer["error"]["code"] == "invalid"
            assert "99999" in answer["error"]["message"]
    assert told == []
    assert place.names() == ["guard:loopback"]


@pytest.mark.parametrize(
    ("words", "text", "code"),
    [
        ("", "", "usage"),
        ("boot", "", "usage"),
        ("rollback", "", "usage"),
        ("read now", "", "usage"),
        ("apply", OPEN, "usage"),
        (f"apply {'0' * 63}g", OPEN, "usage"),
        ("apply $(touch /x)", OPEN, "usage"),
        (f"apply {digest(OPEN)}", OPEN[:-1], "hash"),
        (f"apply {digest('é')}", "é", "refused"),
        (f"confirm {digest(OPEN)}", "", "nothing-pending"),
        (f"check {digest(OPEN)}", "x" * (4 * 1024 * 1024 + 1), "too-large"),
    ],
)
def test_misuse_is_refused(place: Place, words: str, text: str, code: str) -> None:
    assert place.refused(words, text) == code


def test_check_changes_nothing(place: Place) -> None:
    assert place.ask(f"check {digest(OPEN)}", OPEN) == {"checked": digest(OPEN)}
    assert place.table() == ""


def test_what_another_machine_has_confirmed_is_enforced_and_kept_as_of_then(place: Place) -> None:
    place.keep(OPEN)
    told = place.local("confirmed")
    assert told["text"] == OPEN
    place.keep(OTHER)
    assert place.local("take", text=json.dumps({"text": OPEN, "since": 1_700_000_000.5})) == {"confirmed": digest(OPEN)}
    assert place.names() == ["guard:loopback"]
    assert place.local("confirmed") == {"text": OPEN, "since": 1_700_000_000.5}


def test_nothing_is_taken_while_a_ruleset_waits_or_where_it_is_not_ours(place: Place) -> None:
    place.keep(OPEN)
    wrong = json.dumps({"text": OPEN.replace("drop", "accept"), "since": 1})
    assert place.local("take", text=wrong)["error"]["code"] == "refused"
    place.apply(OTHER)
    assert place.local("take", text=json.dumps({"text": OPEN, "since": 1}))["error"]["code"] == "pending"
    assert place.local("confirmed")["text"] == OPEN
    assert place.names() == ["guard:tracked"]
