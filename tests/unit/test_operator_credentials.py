"""What lets an operator in is good for hours: it comes anew by itself, and one that ended under a command is named."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from qhs import cluster, pki, trust_access
from qhs.pki.credentials import PROVISIONER, PROVISIONERS, VALID_FOR, read
from qhs.state import pulumi
from qhs.twin.names import Twin
from stacks.model import load
from stacks.model.kubernetes import OPERATOR, OPERATOR_HOURS
from stacks.provider import carried
from stacks.provider.access import ClusterAccess, TrustAccess
from stacks.provider.settings import ProviderError, Settings

NOW = datetime.now(UTC)
LIFE = timedelta(hours=OPERATOR_HOURS)


@pytest.fixture
def twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Twin:
    """One whose shell was opened so long ago that what let it in has expired."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("QHS_TWIN", "old")
    twin = Twin.here()
    trust_access.write(twin, load("twin"))
    path = pki.folder(twin) / f"{PROVISIONER}.pem"
    path.unlink()
    PROVISIONERS.current(pki.folder(twin), PROVISIONER, NOW - 2 * VALID_FOR)
    assert read(path).not_valid_after_utc < NOW
    return twin


def let_in(file: Path | None) -> datetime:
    """Until when, by what a plugin is told."""
    return read(TrustAccess.read(file).provisioner).not_valid_after_utc


def test_a_plain_kubectl_in_an_old_shell_is_let_in(twin: Twin) -> None:
    assert let_in(cluster.settings().trust_access) > NOW + timedelta(hours=1)


def test_a_plain_pulumi_in_an_old_shell_is_let_in(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is asked; it becomes the engine, which asks nobody for a credential."""
    became: list[str] = []
    monkeypatch.setattr(pulumi.os, "execvp", lambda _, command: became.extend(command))
    pulumi.main("/engine", "preview", "-s", "twin.replica")
    assert became[-4:] == ["/engine", "preview", "-s", "twin.replica"]
    assert let_in(trust_access.file(twin)) > NOW + timedelta(hours=1)


class Signs:
    """A secret store that signs for as long as the role of operators says; the genuine one is asked on the twin."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.key = ec.generate_private_key(ec.SECP256R1())

    def write(self, path: str, csr: str) -> dict[str, Any]:
        assert path == f"kubernetes/sign/{OPERATOR}"
        request = x509.load_pem_x509_csr(csr.encode())
        leaf = (
            x509.CertificateBuilder(request.subject, request.subject, request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.now)
            .not_valid_after(self.now + LIFE)
            .sign(self.key, hashes.SHA256())
        )
        return {"certificate": leaf.public_bytes(serialization.Encoding.PEM).decode()}


SSH = """#!/bin/sh
case "$*" in
    *"-W 10.0.0.1:6443 -- "*) echo "$*" >>"$LED" ;;
    *" -l qhs-clusters -- "*) for last; do [ "$last" = true ] || machine=$last; done
        case " $DEAD " in *" $machine "*) echo "connect to host $machine: No route to host" >&2; exit 255 ;; esac
        exit 1 ;;
esac
"""
"""Machines let everybody in who may run nothing there, but those that are DEAD."""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "root").touch()
    there = ClusterAccess(machines=["ndc-cp1", "ndc-cp2"], address="10.0.0.1", name="kube-api.ndc")
    access = TrustAccess.model_construct(root=tmp_path / "root", clusters={"ndc": there})
    monkeypatch.setattr(TrustAccess, "read", lambda _: access)
    monkeypatch.setattr(Settings, "machines", lambda _: tmp_path / "ssh")
    ssh = tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(ssh.parent), prepend=os.pathsep)
    monkeypatch.setenv("LED", str(tmp_path / "led"))
    return Settings()


def ran(settings: Settings, monkeypatch: pytest.MonkeyPatch, signed: datetime, code: int) -> int:
    """A command that ends so, under a certificate of then."""
    monkeypatch.setattr(cluster, "store", lambda *_: Signs(signed))
    return cluster.run(settings, "ndc", [sys.executable, "-c", f"raise SystemExit({code})"])


def test_a_command_that_failed_after_its_certificate_did_is_told_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ProviderError) as refusal:
        ran(settings, monkeypatch, NOW - LIFE - timedelta(minutes=1), 1)
    assert str(refusal.value) == (
        f"the cluster of ndc: found the certificate of operator expired since "
        f"{NOW - timedelta(minutes=1):%d/%m/%Y %H:%M} UTC, while the command ran; wanted one that is good for all of "
        "it, 8 h at most. Way out: run it once more, which makes a new one"
    )


@pytest.mark.parametrize(("signed", "code"), [(NOW - LIFE - timedelta(minutes=1), 0), (NOW, 3)])
def test_what_went_well_or_failed_in_time_is_left_as_it_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, signed: datetime, code: int
) -> None:
    assert ran(settings, monkeypatch, signed, code) == code


ASKS = """
import json, os, socket, urllib.parse
proxy = urllib.parse.urlsplit(json.load(open(os.environ["KUBECONFIG"]))["clusters"][0]["cluster"]["proxy-url"])
with socket.create_connection((proxy.hostname, proxy.port)) as stream:
    stream.sendall(b"CONNECT kube-api.ndc:6443 HTTP/1.1\\r\\n\\r\\n")
    while stream.recv(1024):
        pass
"""


@pytest.mark.parametrize(("dead", "way"), [("", "ndc-cp1"), ("ndc-cp1", "ndc-cp2")])
def test_the_first_control_plane_that_lets_us_in_leads_to_the_api(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dead: str, way: str
) -> None:
    monkeypatch.setenv("DEAD", dead)
    monkeypatch.setattr(cluster, "store", lambda *_: Signs(NOW))
    assert cluster.run(settings, "ndc", [sys.executable, "-c", ASKS]) == 0
    (led,) = (tmp_path / "led").read_text().splitlines()
    assert led.endswith(f" -W 10.0.0.1:6443 -- {way}")


def test_where_none_lets_us_in_each_is_named_with_what_ssh_said(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEAD", "ndc-cp1 ndc-cp2")
    with pytest.raises(ProviderError) as refusal:
        ran(settings, monkeypatch, NOW, 0)
    assert str(refusal.value) == (
        "the cluster of ndc: found no control plane that ssh comes in to (ndc-cp1: connect to host ndc-cp1: No route "
        "to host; ndc-cp2: connect to host ndc-cp2: No route to host); wanted one. Way out: start one of them, or "
        "`qhs up`"
    )


def test_one_that_hangs_is_passed_over(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bin/ssh").write_text("#!/bin/sh\nexec sleep 9\n")
    monkeypatch.setattr(carried, "PATIENCE", 0.1)
    with pytest.raises(ProviderError, match=r"ndc-cp1: no answer within 0\.1 s; ndc-cp2: no answer"):
        ran(settings, monkeypatch, NOW, 0)
