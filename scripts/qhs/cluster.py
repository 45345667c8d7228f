"""Runs a command that may do everything at the cluster of a site, as whoever provisions may.

    python -m qhs.cluster SITE COMMAND...

It finds the cluster by KUBECONFIG. The key and its certificate, which is good for some hours, are in the memory of this
process alone; the API is reached by ssh through the first control plane that lets us in, by a proxy that knows no other
name.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from qhs import ruleset_access, trust_access
from qhs.child import handed_on, in_memory
from qhs.twin.names import Twin
from stacks.model.kubernetes import ENGINE, OPERATOR, OPERATOR_HOURS, PORT, USER
from stacks.name import StackName
from stacks.provider.access import ClusterAccess, TrustAccess
from stacks.provider.carried import Carried, refused
from stacks.provider.doors import opened
from stacks.provider.secret.client import Store, StoreError
from stacks.provider.secret.stores import store
from stacks.provider.settings import ProviderError, Settings


def reached(stack: str) -> list[str]:
    """The start of a command line that runs the rest of it where the cluster can be asked that a stack is about."""
    name = StackName.parse(stack)
    return [sys.executable, "-m", "qhs.cluster", name.site] if name.site and name.layer == "cloud" else []


def main(site: str, *command: str) -> int:
    """Returns the command's exit code; 1 with a line on standard error where nobody lets us in."""
    try:
        return run(settings(), site, command)
    except (ProviderError, StoreError) as error:
        print(error, file=sys.stderr)
        return 1


def settings() -> Settings:
    """How the machines and stores of the twin are reached."""
    twin = Twin.here()
    return Settings(ssh_config=ruleset_access.write(twin), trust_access=trust_access.current(twin))


def run(settings: Settings, site: str, command: Sequence[str]) -> int:
    """Run it to its end. Raises ProviderError or StoreError where nobody lets us in, or no longer does."""
    access = TrustAccess.read(settings.trust_access)
    there = access.clusters[site]
    config = settings.machines()
    door = partial(Carried.to, config, USER, _way_in(config, site, there.machines), f"{there.address}:{PORT}")
    with opened({f"{there.name}:{PORT}": door}) as at:
        pem = _certified(store(settings, site))
        given = _configuration(site, there, at, access.root.read_bytes(), pem)
        code = handed_on(command, os.environ | {"KUBECONFIG": in_memory(given)})
        if code:
            _refuse_expired(pem, site, datetime.now(UTC))
        return code


def _way_in(config: Path, site: str, machines: Sequence[str]) -> str:
    """The first control plane that lets us in: the API stands at an address that moves. Raises ProviderError."""
    said = []
    for machine in machines:
        if not (why := refused(config, USER, machine)):
            return machine
        said.append(f"{machine}: {why}")
    raise ProviderError(
        f"the cluster of {site}: found no control plane that ssh comes in to ({'; '.join(said)}); wanted one. Way out: "
        "start one of them, or `qhs up`"
    )


def _refuse_expired(pem: bytes, site: str, now: datetime) -> None:
    """A command that failed after its certificate did says only that it is not let in. Raises ProviderError."""
    end = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    if now >= end:
        raise ProviderError(
            f"the cluster of {site}: found the certificate of {OPERATOR} expired since {end:%d/%m/%Y %H:%M} UTC, while "
            f"the command ran; wanted one that is good for all of it, {OPERATOR_HOURS} h at most. Way out: run it once "
            "more, which makes a new one"
        )


def _certified(there: Store) -> bytes:
    """A key and its certificate, in PEM, which the site's secret store has just signed. Raises StoreError."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, OPERATOR)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    answer = there.write(f"{ENGINE}/sign/{OPERATOR}", csr=request.public_bytes(Encoding.PEM).decode())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return str(answer["certificate"]).encode() + b"\n" + private


def _configuration(site: str, there: ClusterAccess, proxy: str, root: bytes, pem: bytes) -> str:
    """As kubectl and the engine's plugin want it."""
    cluster = {"server": f"https://{there.name}:{PORT}", "proxy-url": proxy, "certificate-authority-data": _text(root)}
    user = {"client-certificate-data": _text(pem), "client-key-data": _text(pem)}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": site,
            "clusters": [{"name": site, "cluster": cluster}],
            "users": [{"name": OPERATOR, "user": user}],
            "contexts": [{"name": site, "context": {"cluster": site, "user": OPERATOR}}],
        }
    )


def _text(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
