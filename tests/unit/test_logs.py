"""What the log store writes, seals and deletes, and that it finds what was altered since."""

from __future__ import annotations

import io
import json
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
import qhs_logs

ADDRESS, OTHER = "10.16.64.60", "10.20.144.19"
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
TODAY, YESTERDAY = f"{ADDRESS}/2026-11-26.log", f"{ADDRESS}/2026-11-25.log"


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store that has sealed two days of one machine, today's twice."""
    monkeypatch.setattr(qhs_logs, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(qhs_logs, "CHAIN", tmp_path / "chain")
    monkeypatch.setattr(qhs_logs, "MONTHS", tmp_path / "months.json")
    (tmp_path / "months.json").write_text(json.dumps({"10.16.64.0/20": 12, "10.16.16.0/20": 3}))
    qhs_logs.LOGS.mkdir()
    write(YESTERDAY, 3)
    qhs_logs.seal(NOW - timedelta(days=1))
    write(TODAY, 3)
    qhs_logs.seal(NOW)
    write(TODAY, 2)
    qhs_logs.seal(NOW + timedelta(minutes=15))
    return qhs_logs.LOGS


def write(name: str, lines: int) -> None:
    for number in range(lines):
        qhs_logs.append(qhs_logs.LOGS / name, b"<30>1 2026-11-26T12:00:00.000000+00:00 qhdc-app1 t 1 - - %d\n" % number)


def faults() -> list[str]:
    return qhs_logs.faults(qhs_logs.links(), lambda _: True)


def link() -> Path:
    """The newest file of the chain."""
    return qhs_logs.links()[-1]


def test_what_is_sealed_and_what_is_new_is_as_it_should_be(store: Path) -> None:
    assert faults() == []
    write(TODAY, 2)
    write(f"{OTHER}/2026-11-26.log", 1)
    assert faults() == [], "lines of today that are not sealed yet"


def altered(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


LINE = b"<30>1 2026-11-26T12:00:00.000000+00:00 qhdc-app1 t 1 - - "

TAMPERED: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte altered": (lambda logs: altered(logs / TODAY, b"- 1\n", b"- 7\n"), f"{TODAY}: altered between bytes 0 and"),
    "a line removed": (lambda logs: altered(logs / TODAY, LINE + b"1\n", b""), f"{TODAY}: 236 bytes, sealed were 295"),
    "a line put in": (
        lambda logs: altered(logs / YESTERDAY, LINE + b"1\n", LINE + b"1\n" + LINE + b"9\n"),
        f"{YESTERDAY}: 236 bytes, sealed were 177; lines were put in",
    ),
    "a line put in today": (
        lambda logs: altered(logs / TODAY, LINE + b"1\n", LINE + b"1\n" + LINE + b"9\n"),
        f"{TODAY}: altered between bytes",
    ),
    "a file removed": (lambda logs: (logs / YESTERDAY).unlink(), f"{YESTERDAY}: removed"),
    "a file put in": (lambda _: write(f"{OTHER}/2026-11-24.log", 1), f"{OTHER}/2026-11-24.log: put in"),
    "another file": (lambda logs: (logs / "x").write_text("x"), "x: put in"),
    "a file of a day that never was": (lambda _: write("dead/2026-99-99.log", 1), "dead/2026-99-99.log: put in"),
    "a link": (lambda logs: (logs / ADDRESS / "2026-11-20.log").symlink_to("x"), f"{ADDRESS}/2026-11-20.log: put in"),
    "a line put in and sealed": (
        lambda _: (write(YESTERDAY, 1), qhs_logs.seal(NOW + timedelta(minutes=30))),
        f"{YESTERDAY}: lines were put in after its day",
    ),
    "a seal altered": (
        lambda _: altered(link(), b"2026-11-25T12", b"2026-11-25T11"), "seal 2 of 2026-11: does not"
    ),
    "a seal made unreadable": (lambda _: altered(link(), b"{", b"("), "seal 1 of 2026-11: altered"),
    "a seal that is none": (lambda _: link().write_text('{"sealed": []}\n'), "seal 1 of 2026-11: altered"),
    "a seal removed": (
        lambda _: link().write_bytes(b"\n".join(link().read_bytes().splitlines()[1:])),
        "seal 1 of 2026-11: does not follow",
    ),
    "the chain removed": (lambda _: link().unlink(), "no chain"),
    "deleted too early": (
        lambda _: altered(link(), b'"deleted": {}', b'"deleted": {"%s": 12}' % TODAY.encode()),
        f"{TODAY}: deleted before its 12 months",
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", TAMPERED.values(), ids=TAMPERED.keys())
def test_what_was_tampered_with_is_named(store: Path, change: tuple[Callable[[Path], object], str]) -> None:
    tamper, says = change
    tamper(store)
    assert any(one.startswith(says) for one in faults()), faults()


def test_a_line_that_leaves_no_seal_is_missed_by_none(store: Path) -> None:
    """Whoever takes a seal out and mends the links still leaves a gap."""
    one, two, three = map(json.loads, link().read_text().splitlines())
    three["previous"] = two["previous"]
    link().write_text("".join(json.dumps(told) + "\n" for told in (one, three)))
    assert faults() == [f"{TODAY}: its seals leave lines out"]


def test_the_content_of_older_files_is_read_only_where_it_is_asked_for(store: Path) -> None:
    altered(store / YESTERDAY, b"- 1\n", b"- 7\n")
    assert qhs_logs.faults(qhs_logs.links(), lambda name: name == TODAY) == []
    assert len(faults()) == 1


def test_a_line_that_is_being_written_is_left_for_the_next_seal(store: Path) -> None:
    with (store / TODAY).open("ab") as file:
        file.write(b"half a l")
    qhs_logs.seal(NOW + timedelta(minutes=30))
    with (store / TODAY).open("ab") as file:
        file.write(b"ine\n")
    qhs_logs.seal(NOW + timedelta(minutes=45))
    assert faults() == []


def test_what_was_kept_for_long_enough_is_deleted_and_the_chain_says_so(store: Path) -> None:
    short = "10.16.16.5/2026-11-26.log"
    write(short, 1)
    qhs_logs.seal(NOW + timedelta(minutes=30))
    qhs_logs.seal(datetime(2027, 2, 25, tzinfo=UTC))
    assert short in qhs_logs.files(), "a day before it is three months old"
    qhs_logs.seal(datetime(2027, 2, 26, tzinfo=UTC))
    assert qhs_logs.files() == [YESTERDAY, TODAY]
    assert faults() == []
    assert json.loads(link().read_text().splitlines()[-1])["deleted"] == {short: 3}
    write(short, 1)
    assert faults() == [f"{short}: put in"]


def test_a_store_without_a_line_yet_has_a_seal(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qhs_logs, "LOGS", tmp_path / "new")
    monkeypatch.setattr(qhs_logs, "CHAIN", tmp_path / "new chain")
    qhs_logs.LOGS.mkdir()
    for minutes in (0, 15):
        qhs_logs.seal(NOW + timedelta(minutes=minutes))
    told = qhs_logs.status(NOW + timedelta(minutes=16))
    assert (told["faults"], told["sealed_minutes"], len(told["heads"])) == ([], 16.0, 1)


def test_months_that_were_shortened_for_a_while_are_told(store: Path) -> None:
    write(f"{OTHER}/2026-11-26.log", 1)
    qhs_logs.MONTHS.write_text(json.dumps({"10.16.64.0/20": 0}))
    qhs_logs.seal(NOW + timedelta(minutes=30))
    qhs_logs.MONTHS.write_text(json.dumps({"10.16.64.0/20": 12}))
    write(TODAY, 1)
    assert qhs_logs.status(NOW + timedelta(minutes=31))["senders"][ADDRESS]["months"] == 0


def test_a_new_month_has_a_file_of_its_own_and_needs_no_other(store: Path) -> None:
    december = datetime(2026, 12, 1, 12, tzinfo=UTC)
    write(f"{ADDRESS}/2026-12-01.log", 1)
    qhs_logs.seal(december)
    altered(store / YESTERDAY, b"- 1\n", b"- 7\n")
    assert [one.name for one in qhs_logs.links()] == ["2026-11", "2026-12"]
    assert qhs_logs.faults(qhs_logs.links()[-1:], lambda _: True) == []
    assert [one.partition(" between")[0] for one in faults()] == [f"{YESTERDAY}: altered"]
    (store / TODAY).unlink()
    assert qhs_logs.faults(qhs_logs.links()[-1:], lambda _: True) == [f"{TODAY}: removed"]
    qhs_logs.links()[0].unlink()
    assert any("does not follow" in one for one in faults()), "a month was taken out"


def test_what_a_loss_of_power_leaves_is_no_tampering(store: Path) -> None:
    """A seal and lines that were being written, and a file without any."""
    for path in (link(), store / TODAY):
        with path.open("ab") as file:
            file.write(b'{"at": "20')
    (store / OTHER).mkdir()
    (store / OTHER / "2026-11-26.log").touch()
    write(f"{ADDRESS}/2026-11-27.log", 1)
    qhs_logs.seal(NOW + timedelta(days=1))
    assert faults() == []


def test_an_unknown_network_is_kept_for_the_longest(store: Path) -> None:
    assert [qhs_logs.kept(one) for one in (ADDRESS, "10.16.16.5", "192.0.2.1")] == [12, 3, 12]


def test_a_head_is_found_in_what_another_store_has_sent(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(TODAY, 1)
    qhs_logs.seal(NOW + timedelta(minutes=30))
    said = capsys.readouterr().out.strip().splitlines()[-1]
    line = f"<30>1 2026-11-26T12:30:00.000000+00:00 ndc-soc1 qhs-logs 77 - - {said}\n"
    qhs_logs.append(store / OTHER / "2026-11-26.log", line.encode())
    told = qhs_logs.status(NOW + timedelta(minutes=31))
    assert told["faults"] == []
    assert told["witnessed"] == {OTHER: [told["heads"][-1]]}
    assert len(told["heads"]) == 4
    assert told["sealed_minutes"] == 1.0
    assert {address: one["months"] for address, one in told["senders"].items()} == {ADDRESS: 12, OTHER: 12}


@contextmanager
def full_at(size: int) -> Iterator[None]:
    """No file grows beyond `size`: the kernel says no in the midst of a line, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_line_that_does_not_fit_leaves_nothing_of_itself(store: Path) -> None:
    before = (store / TODAY).read_bytes()
    with full_at(len(before) + 10), pytest.raises(OSError):
        write(TODAY, 1)
    assert (store / TODAY).read_bytes() == before


def test_it_says_of_every_line_whether_it_is_written(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    received = b"%s %sone\n" % (OTHER.encode(), LINE)
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(received)))
    capsys.readouterr()
    qhs_logs.receive()
    assert capsys.readouterr().out == "OK\nOK\n"
    (file,) = (store / OTHER).iterdir()
    assert file.read_bytes() == LINE + b"one\n"
