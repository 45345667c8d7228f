"""A host of an HSM with the signing service on it, OpenBao and a time server: all real, in namespaces of their own."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from qhs.pki import stand_in
from qhs.pki.credentials import SIGNATORIES
from qhs.pki.files import SIGNERS_BELIEVE
from qhs.signing.client import Credential, SigningError, SigningService
from qhs.twin import inside
from tests.kernel.certified import certify, new_root
from tests.kernel.hsm_host import OFFICER, ROLES, TOKEN, USER, HsmHost
from tests.twin.waiting import await_

NAME, SITE = "qhdc-hsm1", "qhdc"
ADDRESS = "10.16.0.9"  # of the site's networks
PORT, BAO = 5657, "http://127.0.0.1:8201/v1"
KEYS = {"nguoi-ky-01": "duty", "nguoi-ky-02": "duty", "time-stamp": "time-stamp"}
STORE = f"""
listener "tcp" {{
  address = "{ADDRESS}:8200"
  tls_cert_file = "/etc/qhs/tls/machine.crt"
  tls_key_file = "/etc/qhs/tls/machine.key"
}}
disable_mlock = true
"""
TIME = f"local stratum 3\nallow 10.16.0.0/14\nbindaddress {ADDRESS}\ncmdport 0\npidfile /run/chronyd.pid\n"
ROOT = {"X-Vault-Token": "root"}


class SignerHost:
    """Its keys have certificates of the stand-in authority, and its signatories credentials."""

    def __init__(self, host: HsmHost, folder: Path) -> None:
        self.host, self.own, self.root = host, new_root(folder / "pki"), host.root
        certify(self._at("etc/qhs/tls"), self.own, NAME, ADDRESS)
        for authority in SIGNERS_BELIEVE:
            authority.ensure(self.own)
        for place in ("usr/local/lib/qhs-pki", "usr/local/lib/qhs-signer", "etc/qhs/signer", "var/lib/qhs-signer"):
            self._at(place).mkdir(parents=True)
        shutil.chown(self._at("var/lib/qhs-signer"), USER, USER)
        for program in (ROLES / "signer/files").glob("*.py"):
            shutil.copy(program, self._at("usr/local/lib/qhs-signer"))
        shutil.copy(ROLES / "pki/files/secret_store.py", self._at("usr/local/lib/qhs-pki"))
        settings = {"machine": NAME, "addresses": [ADDRESS], "port": PORT, "store": [ADDRESS], "fronts": []}
        settings |= {"keys": dict.fromkeys(KEYS, TOKEN["token"]), "time_servers": [ADDRESS]}
        self._at("etc/qhs/signer/signer.json").write_text(json.dumps(settings))
        self._at("etc/store.hcl").write_text(STORE)
        self._at("etc/time.conf").write_text(TIME)
        self._init = self._opened()
        self._helpers = [
            self._begun("/usr/bin/bao", "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root",
                        "-dev-listen-address=127.0.0.1:8201", "-config=/etc/store.hcl"),
            self._begun("/usr/sbin/chronyd", "-d", "-x", "-f", "/etc/time.conf"),
        ]  # fmt: skip
        self._service: subprocess.Popen[bytes] | None = None
        self._requests: dict[str, str] = {}

    @classmethod
    @contextmanager
    def at(cls, folder: Path, image: Path) -> Iterator[SignerHost]:
        """Until the block ends."""
        with HsmHost.at(folder, image) as host:
            found = cls(host, folder)
            try:
                found._stock()
                yield found
            finally:
                found._end()

    # --- what it has ---
    def certificate(self, label: str, own: Path | None = None, **given: Any) -> bytes:
        """A new one for a key, in PEM; `own`: where another authority of the name lies."""
        return stand_in.issue(own or self.own, self._requests[label], KEYS[label], **given)

    def keep(self, label: str, chain: bytes) -> None:
        """Have the store know the certificate of a key."""
        self._ask("POST", f"secret/data/signing/{TOKEN['token']}/{label}", data={"chain": chain.decode()})

    def credential(self, label: str) -> Credential:
        return Credential.read(SIGNATORIES.current(self.own, label))

    def log(self) -> list[str]:
        return self._at("var/lib/qhs-signer/log.jsonl").read_text().splitlines()

    # --- what it is asked ---
    def start(self) -> None:
        """Anew, with the lists that the authorities have by now."""
        self.stop()
        names = {SIGNATORIES: "signatories", stand_in.AUTHORITY: "issuer"}
        for authority, name in names.items():
            authority.ensure_list(self.own)
            shutil.copy(authority.certificate(self.own), self._at(f"etc/qhs/signer/{name}.crt"))
            shutil.copy(authority.revoked(self.own), self._at(f"etc/qhs/signer/{name}.crl"))
        self._service = subprocess.Popen([*self._within, *self.host.command("/usr/local/lib/qhs-signer/qhs_signer.py")])
        await_(self.healthy, 30)

    def stop(self) -> None:
        if self._service:
            self._service.terminate()
            self._service.wait()
            self._service = None

    def healthy(self) -> bool:
        with suppress(requests.RequestException):
            return bool(self.asked(lambda one: one._session.get(f"{one._at}/v1/health", timeout=5)).status_code == 204)
        return False

    def asked(self, question: Any) -> Any:
        """By the certificate of the machine itself."""
        tls = self._at("etc/qhs/tls")
        caller = tls / "machine.crt", tls / "machine.key"
        return inside.call(
            Path(f"/proc/{self._init.pid}/ns/net"),
            lambda: question(SigningService(f"{ADDRESS}:{PORT}", NAME, self.own / "root.crt", caller)),
        )

    def signed(self, digest: bytes, form: str, key: str = "nguoi-ky-01", by: Credential | None = None) -> bytes:
        """Raises SigningError."""
        found: bytes = self.asked(lambda one: one.sign(by or self.credential(key), key, digest, form=form))
        return found

    def refused(self, form: str, key: str = "nguoi-ky-01", by: Credential | None = None) -> str:
        """Its word for why."""
        try:
            self.signed(bytes(32), form, key, by)
        except SigningError as error:
            return error.code
        return "signed"

    # --- how it is made ---
    def _at(self, path: str) -> Path:
        return self.root / path

    def _opened(self) -> subprocess.Popen[str]:
        shared = self._at("dev/shm")  # processes of the service share what is there
        shared.mkdir(parents=True)
        steps = [
            f"mount -t tmpfs -o mode=1777 none {shared}",
            "ip link set lo up",
            f"ip address add {ADDRESS} dev lo",
            "echo up",
            "exec sleep 600",
        ]
        command = ["unshare", "--net", "--mount", "sh", "-c", " && ".join(steps)]
        init = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert init.stdout
        assert init.stdout.readline() == "up\n"
        return init

    @property
    def _within(self) -> list[str]:
        return ["nsenter", f"--target={self._init.pid}", "--net", "--mount"]

    def _begun(self, *command: str) -> subprocess.Popen[bytes]:
        log = self._at(f"var/log/{Path(command[0]).name}.log").open("wb")
        return subprocess.Popen([*self._within, "/usr/sbin/chroot", str(self.root), *command], stdout=log, stderr=log)

    def _stock(self) -> None:
        """A token with keys, whose PIN and certificates the store knows and tells this machine."""
        self.host.done("make-token", **TOKEN, so_pin=OFFICER["so_pin"])
        await_(self._up, 30)
        self._ask("POST", "sys/auth/cert", type="cert")
        self._ask("PUT", "sys/policies/acl/signer", policy='path "secret/data/*" { capabilities = ["read"] }')
        root = (self.own / "root.crt").read_text()
        self._ask("POST", f"auth/cert/certs/signer-{NAME}", certificate=root, token_policies="signer")  # noqa: S106 - a name
        self._ask("POST", f"secret/data/hsm/{NAME}/{TOKEN['token']}", data={"pin": TOKEN["pin"]})
        for label in KEYS:
            self.host.done("make-key", **TOKEN, label=label, algorithm="rsa-3072", use="sign")
            asked = self.host.done("request", **TOKEN, label=label, subject=label)["request"]
            pem = x509.load_der_x509_csr(bytes.fromhex(asked)).public_bytes(Encoding.PEM)
            self._requests[label] = pem.decode()
            self.keep(label, self.certificate(label))

    def _up(self) -> bool:
        with suppress(requests.RequestException):
            self._ask("GET", "sys/health")
            return True
        return False

    def _ask(self, method: str, path: str, **given: Any) -> None:
        def ask() -> None:
            with requests.Session() as session:
                session.trust_env = False
                session.request(method, f"{BAO}/{path}", json=given or None, headers=ROOT, timeout=5).raise_for_status()

        inside.call(Path(f"/proc/{self._init.pid}/ns/net"), ask)

    def _end(self) -> None:
        self.stop()
        for one in self._helpers:
            one.terminate()
            one.wait()
        self._init.kill()
        self._init.wait()
