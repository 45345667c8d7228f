"""A plain `kubectl` in `qhs shell`: as whoever provisions, at the cluster of a site (`--context SITE`, else the first).

    python -m qhs.kubectl WORDS...

The key and its certificate, which is good for some hours, are in this process's memory alone.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from functools import partial
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from qhs import ruleset_access, tools, trust_access
from qhs.child import in_memory
from qhs.console import progress
from qhs.twin.names import Twin
from stacks.model.kubernetes import ENGINE, OPERATOR, PORT, USER
from stacks.provider.access import ClusterAccess, TrustAccess
from stacks.provider.carried import Carried
from stacks.provider.doors import opened
from stacks.provider.secret.client import Store, StoreError
from stacks.provider.secret.stores import store
from stacks.provider.settings import ProviderError, Settings


def main(*words: str) -> int:
    """Returns kubectl's exit code; 1 with a line on standard error where nobody lets us in."""
    twin = Twin.here()
    settings = Settings(ssh_config=ruleset_access.write(twin), trust_access=trust_access.file(twin))
    program = tools.ensure(["kubernetes"], progress)["kubernetes"].programs["kubectl"]
    try:
        access = TrustAccess.read(settings.trust_access)
        site = chosen(words, access)
        there = access.clusters[site]
        door = partial(Carried.to, settings.machines(), USER, there.machines[0], f"{there.address}:{PORT}")
        with opened({f"{there.name}:{PORT}": door}) as at:
            given = configuration(site, there, at, access.root.read_bytes(), certified(store(settings, site)))
            environ = os.environ | {"KUBECONFIG": in_memory(given)}
            return subprocess.run([program, *words], env=environ, check=False).returncode
    except (ProviderError, StoreError) as error:
        print(error, file=sys.stderr)
        return 1


def chosen(words: tuple[str, ...], access: TrustAccess) -> str:
    """The site whose cluster the words are for. Raises ProviderError where it has none."""
    named = [after for word, after in pairwise([*words, ""]) if word == "--context"]
    named += [word.removeprefix("--context=") for word in words if word.startswith("--context=")]
    site = named[-1] if named else next(iter(access.clusters), "")
    if site not in access.clusters:
        raise ProviderError(f"--context: found {site!r}; wanted a site with a cluster: {', '.join(access.clusters)}")
    return site


def certified(there: Store) -> bytes:
    """A key and its certificate, in PEM, which the site's secret store has just signed. Raises StoreError."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, OPERATOR)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    answer = there.write(f"{ENGINE}/sign/{OPERATOR}", csr=request.public_bytes(Encoding.PEM).decode())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return str(answer["certificate"]).encode() + b"\n" + private


def configuration(site: str, there: ClusterAccess, proxy: str, root: bytes, pem: bytes) -> str:
    """As kubectl wants it."""
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
