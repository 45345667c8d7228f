"""A control plane on a root of the machine image: what its roles start, by certificates as a secret store signs."""

from __future__ import annotations

import base64
import http.client
import json
import re
import secrets
import shlex
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import qhs_kubernetes
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from jinja2 import Environment, FileSystemLoader

from qhs.inventory import inventory
from qhs.twin import inside
from stacks.model import load
from stacks.model.kubernetes import CONTROLS, OPERATOR, OPERATOR_GROUP, Part
from tests.kernel.certified import certify
from tests.twin.waiting import await_

ROLES = Path(__file__).parents[2] / "roles"
MACHINE, ADDRESS = "qhdc-cp1", "10.16.0.1"
KEPT, SHARED = "var/lib/qhs-kubernetes", "run/qhs-kubernetes"
LENT = "run/credentials/qhs-metrics-server.service"


class Clients:
    """The cluster's own authority."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._signed("clients", "", "", self.key, x509.BasicConstraints(ca=True, path_length=0))

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def part(self, part: Part) -> str:
        """Its certificate and its key, in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = self._signed(part.user, part.group, part.host, key, x509.BasicConstraints(ca=False, path_length=None))
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return made.public_bytes(Encoding.PEM).decode() + private.decode()

    def _signed(
        self, name: str, group: str, host: str, key: ec.EllipticCurvePrivateKey, kind: x509.BasicConstraints
    ) -> x509.Certificate:
        names = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        names += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder().subject_name(x509.Name(names)).public_key(key.public_key())
        builder = builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "clients")]))
        builder = builder.serial_number(x509.random_serial_number()).add_extension(kind, critical=True)
        builder = builder.not_valid_before(now - timedelta(minutes=5)).not_valid_after(now + timedelta(days=1))
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if host else [])]
        builder = builder if kind.ca else builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        if host:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(self.key, hashes.SHA256())


class ControlPlane:
    """In a network of its own, whose one address is the machine's and the API's."""

    def __init__(self, root: Path, estate: Path) -> None:
        """`estate`: the folder of its root."""
        self.root, self.clients = root, Clients()
        given: dict[str, Any] = inventory(load("twin"))["_meta"]["hostvars"][MACHINE]
        given |= {"inventory_hostname": MACHINE, "qhs_served": "/run/served", "control_plane_etcd": [ADDRESS]}
        given |= {"control_plane_address": ADDRESS, "cluster_metrics_api": ADDRESS, "etcd_members": {MACHINE: ADDRESS}}
        self._given = given
        names = (MACHINE, given["control_plane_name"], given["etcd_name"], ADDRESS)
        certify(root / "etc/qhs/tls", estate, *names)
        self._files()
        words = [
            "unshare",
            "--net",
            "sh",
            "-c",
            f"ip link set lo up && ip address add {ADDRESS}/24 dev lo && echo up && exec sleep 900",
        ]
        self._init = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert self._init.stdout
        assert self._init.stdout.readline() == b"up\n"
        self.network = Path(f"/proc/{self._init.pid}/ns/net")
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, role: str, unit: str, *more: str) -> None:
        """What the unit of a role starts, with more options after its own."""
        text = self._written(role, f"etc/systemd/system/{unit}.service")
        (line,) = re.findall(r"^ExecStart=((?:.*\\\n)*.*)", text, re.MULTILINE)
        words = [one.replace("%d", f"/{LENT}") for one in shlex.split(line.replace("\\\n", " "))]
        said = dict(
            one.split("=", 1) for one in shlex.split(" ".join(re.findall(r"^Environment=(.*)", text, re.MULTILINE)))
        )
        self.run(unit, [*words, *more], said)

    def run(self, name: str, words: list[str], variables: dict[str, str]) -> None:
        """A program, with what it says in a file of its name."""
        entered = ["nsenter", f"--net={self.network}", "/usr/sbin/chroot", str(self.root), *words]
        with (self.root / f"var/log/{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(entered, env=variables, stdout=log, stderr=log)

    def begin(self) -> None:
        """The store, and the API before it."""
        variables = dict(
            line.split("=", 1)
            for line in self._written("etcd", "etc/qhs/etcd/member.env").splitlines()
            if line.startswith("ETCD_")
        )
        self.run("etcd", ["/usr/bin/etcd"], variables)
        self.start("control_plane", "qhs-kube-apiserver")
        await_(self._ready, 90)

    def process(self, name: str) -> int:
        return self._running[name].pid

    def end(self) -> None:
        for one in (*reversed(self._running.values()), self._init):
            one.kill()
            one.wait()

    def asked(
        self, path: str, given: dict[str, Any] | None = None, verb: str = "", *, user: str = "", group: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """What the API answers whoever provisions, for himself or for another user."""
        headers = {"Impersonate-User": user, "Impersonate-Group": group} if user else {}
        kind = "application/merge-patch+json" if verb == "PATCH" else "application/json"
        body = json.dumps(given) if given is not None else None

        def ask() -> tuple[int, dict[str, Any]]:
            context = ssl.create_default_context(cafile=str(self.root / "etc/qhs/tls/ca.crt"))
            context.load_cert_chain(self.root / KEPT / "operator.pem")
            there = http.client.HTTPSConnection(ADDRESS, 6443, context=context, timeout=20)
            there.request(verb or ("POST" if body else "GET"), path, body, {**headers, "Content-Type": kind})
            answer = there.getresponse()
            text = answer.read().decode()
            return answer.status, json.loads(text) if text.startswith("{") else {"said": text}

        return inside.call(self.network, ask)

    def _ready(self) -> bool:
        try:
            return self.asked("/readyz")[0] == 200
        except OSError:
            return False

    def _files(self) -> None:
        operator = Part("operator", OPERATOR, OPERATOR_GROUP)
        signing = ec.generate_private_key(ec.SECP256R1())
        first = [{"name": "first", "secret": base64.b64encode(secrets.token_bytes(32)).decode()}]
        content = {
            **{f"{KEPT}/{one.name}.pem": self.clients.part(one) for one in (*CONTROLS, operator)},
            f"{KEPT}/ca.crt": self.clients.pem,
            f"{SHARED}/service-accounts.key": signing.private_bytes(
                Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
            ).decode(),
            f"{SHARED}/encryption.json": json.dumps(qhs_kubernetes.encryption(first)),
            "etc/qhs/kubernetes/admission.json": self._written("control_plane", "etc/qhs/kubernetes/admission.json"),
            "etc/qhs/kubernetes/audit.json": self._written("control_plane", "etc/qhs/kubernetes/audit.json"),
            "etc/qhs/kubernetes/metrics-server.json": self._written(
                "cluster_metrics", "etc/qhs/kubernetes/metrics-server.json"
            ),
        }
        # As systemd hands them over.
        content |= {
            f"{LENT}/part.pem": content[f"{KEPT}/metrics-server.pem"],
            f"{LENT}/clients.crt": self.clients.pem,
            f"{LENT}/ca.crt": (self.root / "etc/qhs/tls/ca.crt").read_text(),
        }
        for path, text in content.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text)

    def _written(self, role: str, path: str) -> str:
        templates = Environment(loader=FileSystemLoader(ROLES / role / "templates"), trim_blocks=True)  # noqa: S701 - no HTML
        return templates.get_template(f"{path}.j2").render(self._given)
