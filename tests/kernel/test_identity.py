"""A genuine API server lets in whom the identity provider names, with the groups that it names, and nobody else."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jinja2 import Environment, FileSystemLoader

from qhs.twin import inside
from stacks.model.inventory import Identity
from tests.kernel.certified import certify, new_root
from tests.kernel.clusters import namespace
from tests.kernel.over_image import over_image
from tests.twin.waiting import await_

TEMPLATES = Path(__file__).parents[2] / "roles/control_plane/templates/etc/qhs/kubernetes"
NAME, ADDRESS = "identity.qhs.internal", "10.16.0.1"
PROVIDER = Identity(issuer=f"https://{NAME}:8443/realms/quoc-hoi", audience="kubernetes")
KEY, STRANGER = (rsa.generate_private_key(65537, 2048) for _ in range(2))
# Answers each path of the folder with what lies there, over TLS.
SERVE = """
import functools, http.server, ssl, sys
context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
context.load_cert_chain(sys.argv[1] + "/machine.crt", sys.argv[1] + "/machine.key")
answer = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[2])
server = http.server.ThreadingHTTPServer((sys.argv[3], 8443), answer)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


@dataclass
class Api:
    """An API server in a network of its own."""

    network: Path
    root: Path
    """What vouches for it."""

    def who(self, token: str) -> tuple[int, dict[str, Any]]:
        """Whom it takes the holder of a token for."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        return self.asked(
            lambda: requests.post(
                f"https://{ADDRESS}:6443/apis/authentication.k8s.io/v1/selfsubjectreviews",
                json=body,
                headers={"Authorization": f"Bearer {token}"},
                verify=str(self.root),
                timeout=5,
            )
        )

    def asked(self, ask: Callable[[], requests.Response]) -> tuple[int, dict[str, Any]]:
        def told() -> tuple[int, dict[str, Any]]:
            answer = ask()
            return answer.status_code, answer.json()

        return inside.call(self.network, told)


def token(key: rsa.RSAPrivateKey = KEY, **other: Any) -> str:
    claims = {"iss": PROVIDER.issuer, "aud": PROVIDER.audience, "sub": "can-bo-1", "exp": time.time() + 600}
    return jwt.encode({**claims, "groups": ["vpqh-cntt"], **other}, key, "RS256", headers={"kid": "one"})


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    folder = tmp_path_factory.mktemp("identity")
    with namespace() as init, over_image(folder / "machine") as root:
        network = Path(f"/proc/{init}/ns/net")
        words = f"ip link set lo up; ip address add {ADDRESS}/32 dev lo"
        subprocess.run(["nsenter", f"--net={network}", "sh", "-ec", words], check=True)
        _write(root, folder)
        tls, told = root / "etc/qhs/tls", folder / "told"
        server = [
            "/usr/bin/kube-apiserver", "--etcd-servers=http://127.0.0.1:2379", f"--bind-address={ADDRESS}",
            "--service-cluster-ip-range=10.19.240.0/20",
            "--tls-cert-file=/etc/qhs/tls/machine.crt", "--tls-private-key-file=/etc/qhs/tls/machine.key",
            "--authorization-mode=RBAC", "--anonymous-auth=false",
            "--authentication-config=/etc/qhs/kubernetes/authentication.json",
            "--service-account-issuer=https://api", "--service-account-key-file=/root/accounts.key",
            "--service-account-signing-key-file=/root/accounts.key",
        ]  # fmt: skip
        chroot = ["/usr/sbin/chroot", str(root), "/usr/bin/env", "SSL_CERT_FILE=/etc/qhs/tls/ca.crt"]
        with (
            running(network, folder, "python3", "-c", SERVE, str(tls), str(told), ADDRESS),
            running(network, folder, *chroot, "/usr/bin/etcd", "--data-dir=/root/etcd"),
            running(network, folder, *chroot, *server),
        ):
            found = Api(network, tls / "ca.crt")
            await_(lambda: _lets_in(found), 60)
            yield found


def _write(root: Path, folder: Path) -> None:
    """What the role renders, and what the provider says of itself."""
    certify(root / "etc/qhs/tls", new_root(folder / "pki"), NAME, ADDRESS)
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{ADDRESS} {NAME}\n")
    written = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True).get_template("authentication.json.j2")
    (root / "etc/qhs/kubernetes").mkdir(parents=True)
    (root / "etc/qhs/kubernetes/authentication.json").write_text(
        written.render(control_plane_identity=[PROVIDER.model_dump()])
    )
    (root / "root/accounts.key").write_bytes(
        KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
    told = folder / "told/realms/quoc-hoi"
    (told / ".well-known").mkdir(parents=True)
    keys = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())) | {"kid": "one", "alg": "RS256"}
    (told / "keys").write_text(json.dumps({"keys": [keys]}))
    says = {
        "issuer": PROVIDER.issuer,
        "jwks_uri": f"{PROVIDER.issuer}/keys",
        "authorization_endpoint": f"{PROVIDER.issuer}/auth",
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }
    (told / ".well-known/openid-configuration").write_text(json.dumps(says))


@contextmanager
def running(network: Path, folder: Path, *words: str) -> Iterator[None]:
    with (folder / "log").open("ab") as log:
        command = ["nsenter", f"--net={network}", *words]
        with subprocess.Popen(command, stdout=log, stderr=log) as process:
            try:
                yield
            finally:
                process.kill()


def _lets_in(api: Api) -> bool:
    try:
        return api.who(token())[0] == 201
    except requests.RequestException:
        return False


def test_whom_it_names_is_let_in_with_the_groups_that_it_names(api: Api) -> None:
    code, said = api.who(token())
    user = said["status"]["userInfo"]
    assert (code, user["username"], set(user["groups"])) == (
        201,
        "identity:can-bo-1",
        {"vpqh-cntt", "system:authenticated"},
    )


@pytest.mark.parametrize(
    "shown",
    [
        token(groups=["vpqh-cntt", "system:masters"]),
        token(STRANGER),
        token(aud="mail"),
        token(iss=f"https://{NAME}:8443/realms/other"),
        token(exp=time.time() - 60),
        "",
        base64.b64encode(b"x").decode(),
    ],
    ids=["group of the cluster's own", "other key", "for another", "other issuer", "ended", "none", "no token"],
)
def test_nobody_else_is(api: Api, shown: str) -> None:
    assert api.who(shown)[0] == 401
