"""Time-stamps: what is asked for, by whose clock, and that OpenSSL takes them (T-E12, C-TSA-01, C-TSA-02)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import timing
from asn1crypto import tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from stamping import POLICY, BadRequestError, asked, granted, imprint_of, refused
from timing import clock_off

from policies.live import probe
from policies.live.answers import told
from policies.live.facts import TimeStamp
from qhs.pki import stand_in
from tests.policies.machines import host
from tests.unit.https import certify, server

DATA = b"Luat"


def openssl(*words: object, ok: bool = True) -> str:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, rsa.RSAPrivateKey, list[bytes]]:
    """Where the anchor lies, a key for time-stamps, and its certificate."""
    own = tmp_path_factory.mktemp("authority")
    stand_in.ensure(own)
    key = rsa.generate_private_key(65537, 3072)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Cấp dấu thời gian")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = stand_in.issue(own, request.public_bytes(Encoding.PEM).decode(), "time-stamp")
    return own / "stand-in.crt", key, [x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)]


def answer(authority: tuple[Path, rsa.RSAPrivateKey, list[bytes]], query: bytes, now: datetime | None = None) -> bytes:
    _, key, chain = authority

    async def sign(digest: bytes) -> bytes:
        return key.sign(digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))

    return asyncio.run(granted(asked(query), chain, sign, now))


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("extra", [[], ["-cert"], ["-no_nonce"]], ids=["nonce", "cert", "no-nonce"])
def test_openssl_takes_a_time_stamp(
    authority: tuple[Path, rsa.RSAPrivateKey, list[bytes]], tmp_path: Path, algorithm: str, extra: list[str]
) -> None:
    data, query, reply = (tmp_path / name for name in ("data", "query", "reply"))
    data.write_bytes(DATA)
    openssl("ts", "-query", "-data", data, f"-{algorithm}", *extra, "-out", query)
    reply.write_bytes(answer(authority, query.read_bytes()))
    trust = ["-CAfile", authority[0]]
    if not extra:
        leaf = tmp_path / "leaf.pem"
        leaf.write_bytes(x509.load_der_x509_certificate(authority[2][0]).public_bytes(Encoding.PEM))
        trust += ["-untrusted", leaf]
    assert "Verification: OK" in openssl("ts", "-verify", "-queryfile", query, "-in", reply, *trust)
    assert "Accuracy: 0x01 seconds" in openssl("ts", "-reply", "-in", reply, "-text")
    data.write_bytes(DATA + b"!")
    openssl("ts", "-verify", "-data", data, "-in", reply, *trust, ok=False)


def test_no_two_have_one_number(authority: tuple[Path, rsa.RSAPrivateKey, list[bytes]]) -> None:
    query = tsp.TimeStampReq({"version": "v1", "message_imprint": imprint_of(DATA)}).dump()
    infos = [tsp.TimeStampResp.load(answer(authority, query))["time_stamp_token"] for _ in range(4)]
    numbers = {one["content"]["encap_content_info"]["content"].parsed["serial_number"].native for one in infos}
    assert len(numbers) == 4


FAILURES = {
    "bad_alg": "unrecognized or unsupported algorithm identifier",
    "bad_data_format": "the data submitted has the wrong format",
    "unaccepted_policy": "the requested TSA policy is not supported by the TSA",
}


def query(algorithm: str = "sha256", length: int = 32, **more: object) -> bytes:
    imprint = {"hash_algorithm": {"algorithm": algorithm}, "hashed_message": bytes(length)}
    return bytes(tsp.TimeStampReq({"version": "v1", "message_imprint": imprint, **more}).dump())


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        (query("sha1", 20), "bad_alg"),
        (query("md5", 16), "bad_alg"),
        (query(length=20), "bad_data_format"),
        (query(req_policy="1.2.3.4"), "unaccepted_policy"),
        (query() + b"x", "bad_data_format"),
        (b"", "bad_data_format"),
        (b"\x30\x03\x02\x01\x01", "bad_data_format"),
    ],
    ids=["sha-1", "md5", "short", "policy", "more", "nothing", "half"],
)
def test_what_cannot_be_stamped_is_answered_so(body: bytes, failure: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequestError) as error:
        asked(body)
    assert error.value.failure == failure
    (tmp_path / "reply").write_bytes(refused(error.value))
    said = openssl("ts", "-reply", "-in", tmp_path / "reply", "-text")
    assert "Status: Rejected." in said
    assert f"Failure info: {FAILURES[failure]}" in said


def test_its_own_policy_may_be_asked_for() -> None:
    assert asked(query(req_policy=POLICY))["req_policy"].native == POLICY


@pytest.mark.parametrize(
    ("what", "taken"), [("stamped", True), ("for another authority", False), ("replayed", False), ("refused", False)]
)
def test_a_machine_that_asks_says_what_it_got(
    authority: tuple[Path, rsa.RSAPrivateKey, list[bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    taken: bool,
) -> None:
    """C-TSA-01 and C-TSA-02, by the probe's own words: OpenSSL reads them, and the rules are told."""
    certify(tmp_path / "tls", "127.0.0.1")
    monkeypatch.setattr(probe, "TLS", tmp_path / "tls")
    stand_in.ensure(tmp_path)
    answers = {"replayed": lambda _: answer(authority, query()), "refused": lambda _: b'{"error": {"code": "clock"}}'}
    anchor = tmp_path / "stand-in.crt" if what == "for another authority" else authority[0]
    shown = base64.b64encode(ssl.PEM_cert_to_DER_cert(anchor.read_text())).decode()
    with server(tmp_path / "tls", "127.0.0.1", 0, answers.get(what, lambda given: answer(authority, given))) as port:
        said = probe.stamped(f"127.0.0.1:{port}", shown)
    found = told(host(), {"time-stamp": said})[0].time_stamp
    assert found == TimeStamp(taken=taken, **({"accuracy_s": 1, "off_s": 0} if taken else {}))


@contextmanager
def time_server(ahead: float, mode: int = 4, stratum: int = 3) -> Iterator[int]:
    """Its port. It answers once and is so many seconds ahead."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        own.settimeout(5)

        def serve() -> None:
            asked_of, who = own.recvfrom(512)
            now = time.time() + ahead + 2_208_988_800
            stamp = struct.pack("!II", int(now), int(now % 1 * 2**32))
            own.sendto(bytes([0x20 | mode, stratum]) + bytes(22) + asked_of[40:48] + stamp + stamp, who)

        thread = threading.Thread(target=serve)
        thread.start()
        yield own.getsockname()[1]
        thread.join()


@pytest.mark.parametrize(
    ("ahead", "mode", "stratum", "said"),
    [
        (0, 4, 3, ""),
        (0.5, 4, 3, ""),
        (60, 4, 3, "the clock is +60.0 s off"),
        (-60, 4, 3, "the clock is -60.0 s off"),
        (0, 4, 16, "none of the time servers"),
        (0, 5, 3, "none of the time servers"),
    ],
    ids=["right", "half-a-second", "behind", "ahead", "no-reference", "no-server"],
)
def test_a_clock_that_is_a_minute_off_is_not_vouched_for(
    monkeypatch: pytest.MonkeyPatch, ahead: float, mode: int, stratum: int, said: str
) -> None:
    with time_server(ahead, mode, stratum) as port:
        monkeypatch.setattr(timing, "PORT", port)
        found = clock_off(["127.0.0.1"])
    assert said in found
    assert bool(found) == bool(said)


def test_without_any_time_server_no_time_is_vouched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "PATIENCE", 0.2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        monkeypatch.setattr(timing, "PORT", own.getsockname()[1])
        assert clock_off(["127.0.0.1"]) == "none of the time servers 127.0.0.1 answers"


def test_the_moment_is_that_of_the_signature(authority: tuple[Path, rsa.RSAPrivateKey, list[bytes]]) -> None:
    now = datetime(2026, 11, 28, 1, 2, 3, 456789, tzinfo=UTC)
    token = tsp.TimeStampResp.load(answer(authority, query(), now))["time_stamp_token"]
    info = token["content"]["encap_content_info"]["content"].parsed
    assert info["gen_time"].native == now
    assert hashlib.sha256(info.dump()).digest() == next(
        one["values"][0].native
        for one in token["content"]["signer_infos"][0]["signed_attrs"]
        if one["type"].native == "message_digest"
    )
