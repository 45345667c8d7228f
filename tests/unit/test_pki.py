"""What the authorities sign, and what they refuse; OpenSSL and OpenSSH judge the results."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import qhs_pki
import serving
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from issuing import Authority, RefusedError, entitled, pem
from renewing import Renewals

from qhs.errors import UserError
from qhs.pki import root, sign_authority

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
NETWORKS = ["10.16.0.0/14", "fd51:1::/48"]
NAMES = ["qhdc-app1", "qhdc-app1.qhs.internal", "10.16.65.50", "fd51:1:0:4::132"]


def csr(name: str, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> str:
    builder = x509.CertificateSigningRequestBuilder()
    builder = builder.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    for one in extensions:
        builder = builder.add_extension(one, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def openssh(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def alternative(*names: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([qhs_pki.general(name) for name in names])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A root, as old as NOW."""
    key, certificate = root.made(NOW)
    root.key(tmp_path).write_bytes(key)
    root.certificate(tmp_path).write_bytes(certificate)
    return tmp_path


def authority(folder: Path, site: str = "qhdc", now: datetime = NOW) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    signed = sign_authority(folder, csr(root.title(site), key), site, NETWORKS, now)
    return Authority(key, x509.load_pem_x509_certificate(signed.encode()), ed25519.Ed25519PrivateKey.generate())


def request(*names: str) -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    return {"csr": csr(names[0], key, alternative(*names)), "ssh": openssh(ed25519.Ed25519PrivateKey.generate())}


def verified(folder: Path, chain: str, now: datetime = NOW, purpose: str = "sslserver") -> str:
    (folder / "chain.pem").write_text(chain)
    at = str(int((now + timedelta(minutes=1)).timestamp()))
    files = ["-CAfile", folder / "root.crt", "-untrusted", folder / "chain.pem", folder / "chain.pem"]
    command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-attime", at, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip()


def test_openssl_believes_a_machine_on_both_sides_of_a_connection(folder: Path) -> None:
    chain = authority(folder).issue(request(*NAMES), NAMES, NOW)["certificate"]
    for purpose in ("sslserver", "sslclient"):
        assert verified(folder, chain, purpose=purpose).endswith("OK")
    assert "expired" in verified(folder, chain, NOW + timedelta(days=7))
    assert "error" in verified(folder, chain, purpose="crlsign")


def test_a_machine_gets_its_names_for_a_week_and_cannot_sign(folder: Path) -> None:
    leaf, _ = x509.load_pem_x509_certificates(
        authority(folder).issue(request(*NAMES), NAMES, NOW)["certificate"].encode()
    )
    assert qhs_pki.names_of(leaf) == [NAMES[0], *sorted(NAMES[1:])]
    assert leaf.not_valid_after_utc == NOW + timedelta(days=7)
    extensions = leaf.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    extended = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(extended) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_a_machine_does_not_outlive_its_authority(folder: Path) -> None:
    one = authority(folder)
    late = one.certificate.not_valid_after_utc - timedelta(days=1)
    chain = one.issue(request(*NAMES), NAMES, late)["certificate"].encode()
    assert x509.load_pem_x509_certificates(chain)[0].not_valid_after_utc == one.certificate.not_valid_after_utc


def test_the_authority_of_a_site_signs_no_other_authority_and_no_address_elsewhere(folder: Path) -> None:
    one = authority(folder)
    basic = one.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    usage = one.certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.digital_signature) == (True, True, False)
    assert one.certificate.not_valid_after_utc == NOW + timedelta(days=365)
    elsewhere = ["qhdc-app1", "10.20.0.5"]
    assert "permitted subtree violation" in verified(
        folder, one.issue(request(*elsewhere), elsewhere, NOW)["certificate"]
    )
    below = below_a_site(one)
    chain = below.issue(request(*NAMES), NAMES, NOW)["certificate"] + pem(one.certificate)
    assert "path length constraint exceeded" in verified(folder, chain)


def below_a_site(one: Authority) -> Authority:
    """What somebody with a site's key might try: a further authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "below")]))
        .issuer_name(one.certificate.subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(one.key.public_key()), critical=False)
        .sign(one.key, hashes.SHA256())
    )
    return Authority(key, certificate, one.host_key)


@pytest.mark.parametrize(
    "asked",
    [[*NAMES, "ndc-app1"], NAMES[:-1], ["ndc-app1"], [*NAMES, "10.16.65.51"], [*NAMES, "*.qhs.internal"]],
    ids=["one more", "one less", "another's", "another address", "all"],
)
def test_other_names_are_refused(folder: Path, asked: list[str]) -> None:
    with pytest.raises(RefusedError, match="found names"):
        authority(folder).issue(request(*asked), NAMES, NOW)


P256 = ec.generate_private_key(ec.SECP256R1())
OWN = alternative(*NAMES)
REFUSED = {
    "an authority": ({"csr": csr("x", P256, OWN, x509.BasicConstraints(ca=True, path_length=None))}, "extensions"),
    "a name of another kind": (
        {"csr": csr("x", P256, x509.SubjectAlternativeName([*OWN, x509.RFC822Name("a@qhs.internal")]))},
        "found names",
    ),
    "no names": ({"csr": csr("x", P256)}, "no request with names"),
    "another curve": ({"csr": csr("x", ec.generate_private_key(ec.SECP384R1()), OWN)}, "another kind of key"),
    "another host key": (
        {"csr": csr("x", P256, OWN), "ssh": openssh(rsa.generate_private_key(65537, 2048))},
        "another kind of host key",
    ),
    "no request": ({"csr": "x"}, "no request with names"),
    "something else": ({"csr": 7}, "no request with names"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_plain_request_is_refused(folder: Path, what: str) -> None:
    change, reason = REFUSED[what]
    with pytest.raises(RefusedError, match=reason):
        authority(folder).issue(request(*NAMES) | change, NAMES, NOW)  # type: ignore[operator]  # also what is no request


def test_a_request_that_somebody_else_signed_is_refused(folder: Path) -> None:
    one = request(*NAMES)
    lines = one["csr"].splitlines()
    lines[-2] = lines[-2][:-8] + ("A" if lines[-2][-8] != "A" else "B") + lines[-2][-7:]
    with pytest.raises(RefusedError, match="not signed by its own key"):
        authority(folder).issue(one | {"csr": "\n".join(lines)}, NAMES, NOW)


def test_a_machine_renews_at_its_own_site_for_its_own_names(folder: Path) -> None:
    here, there = authority(folder), authority(folder, "ndc")
    shown, _ = x509.load_pem_x509_certificates(here.issue(request(*NAMES), NAMES, NOW)["certificate"].encode())
    assert entitled(shown, here.certificate.subject) == [NAMES[0], *sorted(NAMES[1:])]
    with pytest.raises(RefusedError, match="found a certificate of CN=QHS machines of qhdc"):
        entitled(shown, there.certificate.subject)


def test_openssh_believes_a_host_for_its_own_names(folder: Path, tmp_path: Path) -> None:
    one = authority(folder)
    certificate = tmp_path / "host-cert.pub"
    certificate.write_text(one.issue(request(*NAMES), NAMES, NOW)["ssh"])
    said = subprocess.run(
        ["ssh-keygen", "-L", "-f", certificate], capture_output=True, text=True, check=True, env={"TZ": "UTC"}
    ).stdout
    assert "ssh-ed25519-cert-v01@openssh.com host certificate" in said
    principals = said.partition("Principals:")[2].partition("Critical")[0].split()
    assert set(principals) == set(NAMES)
    assert "to 2026-12-25T12:00:00" in said


@pytest.mark.parametrize(
    ("name", "extensions"),
    [(root.title("ndc"), ()), (root.title("qhdc"), (x509.BasicConstraints(ca=True, path_length=3),))],
    ids=["another site's", "with wishes"],
)
def test_the_root_signs_a_site_as_what_it_is(folder: Path, name: str, extensions: tuple[x509.ExtensionType]) -> None:
    with pytest.raises(UserError, match="wanted CN=QHS machines of qhdc"):
        sign_authority(folder, csr(name, P256, *extensions), "qhdc", NETWORKS, NOW)


@pytest.fixture
def machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with certificates for NAMES, below `folder`."""
    for constant, name in {"KEY": "key", "CERTIFICATE": "crt", "ROOT": "root.crt", "HOST_KEY": "host"}.items():
        monkeypatch.setattr(qhs_pki, constant, folder / name)
    monkeypatch.setattr(qhs_pki, "HOST_CERTIFICATE", folder / "host-cert.pub")
    host = ed25519.Ed25519PrivateKey.generate()
    (folder / "host").write_bytes(host.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    (folder / "key").write_bytes(P256.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    answer = authority(folder).issue(qhs_pki.request(NAMES), NAMES, NOW)
    (folder / "crt").write_text(answer["certificate"])
    (folder / "host-cert.pub").write_text(answer["ssh"])
    return folder


def test_a_machine_knows_when_its_certificates_hold(machine: Path) -> None:
    assert qhs_pki.wrong(NAMES, NOW) == ""
    assert qhs_pki.wrong(NAMES, NOW + timedelta(days=5)) == ""
    assert "valid until" in qhs_pki.wrong(NAMES, NOW + timedelta(days=6, hours=1))
    assert "found names" in qhs_pki.wrong([*NAMES, "pki.qhdc.qhs.internal"], NOW)


def test_a_machine_knows_another_root_another_key_and_what_is_missing(machine: Path) -> None:
    right = {name: (machine / name).read_bytes() for name in ("root.crt", "key", "host")}
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    host = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    wrongs = {"root.crt": (root.made(NOW)[1], "no whole chain"), "key": (other, "another key"), "host": (host, "host")}
    for name, (content, reason) in wrongs.items():
        (machine / name).write_bytes(content)
        assert reason in qhs_pki.wrong(NAMES, NOW)
        (machine / name).write_bytes(right[name])
    (machine / "host-cert.pub").unlink()
    assert "no whole chain" in qhs_pki.wrong(NAMES, NOW)


@pytest.fixture
def service(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[serving.Service]:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(folder))
    signer = authority(folder)
    context = serving.speaking(signer.server(NAMES, datetime.now(UTC)), folder / "root.crt")
    renewals = Renewals(signer, {"nodes": []}, folder / "taken-over")
    with serving.Service(socket.create_server(("127.0.0.1", 0)), context, renewals) as listening:
        yield listening


def test_a_client_that_is_still_sending_reads_why_it_is_refused(machine: Path, service: serving.Service) -> None:
    expired = service.renewals.authority.issue(qhs_pki.request(NAMES), NAMES, datetime.now(UTC) - timedelta(days=8))
    (machine / "crt").write_text(expired["certificate"])
    client = ssl.create_default_context(cafile=str(machine / "root.crt"))
    client.load_cert_chain(machine / "crt", machine / "key")
    plain = socket.create_connection(service.server_address)
    answering = threading.Thread(target=service.handle_request)
    answering.start()
    with client.wrap_socket(plain, server_hostname=NAMES[0]) as sending:
        answering.join()
        for part in (b"POST /renew HTTP/1.1\r\n", b"Content-Length: 2\r\n\r\n", b"{}"):
            time.sleep(0.2)  # a part that arrives after the end of what was read is what this is about
            sending.sendall(part)
        with pytest.raises(ssl.SSLError, match="expired"):
            sending.recv(1)
