"""T-E10 in full: many processes sign with one token, while others log in and out."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from qhs import image
from tests.kernel.hsm_host import DEVICE, LIBRARY, OFFICER, TOKEN, HsmHost

PROCESSES, EACH = 16, 1000
KEYS = ("ec-p256", "rsa-3072")
SIGNING = """
import hashlib, os, sys
sys.path.insert(0, "/usr/local/lib/qhs-hsm")
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from device import Device

opened = Device.here().kept_open("ky-so", os.environ["PIN"])
known, wrong = utils.Prehashed(hashes.SHA256()), 0
pairs = [opened.pair(label) for label in sys.argv[2:]]
for number in range(int(sys.argv[1])):
    pair = pairs[number % len(pairs)]
    digest = hashlib.sha256(os.urandom(32)).digest()
    signature = opened.sign(pair, "sha256", digest)
    try:
        if isinstance(pair[1], rsa.RSAPublicKey):
            pair[1].verify(signature, digest, padding.PKCS1v15(), known)
        else:
            pair[1].verify(signature, digest, ec.ECDSA(known))
    except InvalidSignature:
        wrong += 1
print(number + 1, wrong)
"""


def test_sixteen_processes_sign_a_thousand_times_each(tmp_path: Path, figures: dict[str, float]) -> None:
    with HsmHost.at(tmp_path, image.ensure(print).path) as host:
        host.done("make-token", **TOKEN | OFFICER)
        for label in KEYS:
            host.done("make-key", **TOKEN, label=label, algorithm=label, use="sign")
        before = host.done("keys", **TOKEN)
        assert (host.root / LIBRARY).is_dir()
        began = time.monotonic()
        signing = [
            subprocess.Popen(
                host.command("-c", SIGNING, str(EACH), *KEYS),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=DEVICE.environment | {"PIN": TOKEN["pin"]},
            )
            for _ in range(PROCESSES)
        ]
        logins = 0
        while any(one.poll() is None for one in signing):
            host.done("prove", **TOKEN, label="ec-p256")
            logins += 1
        seconds = time.monotonic() - began
        said = [one.communicate() for one in signing]
        errors = [complaint for _, complaint in said if complaint]
        counted = [tuple(map(int, out.split())) for out, _ in said if out]
        assert host.done("keys", **TOKEN) == before
    figures.update(
        {
            "processes": float(len(counted)),
            "signatures": float(sum(made for made, _ in counted)),
            "that do not verify": float(sum(wrong for _, wrong in counted)),
            "errors": float(len(errors)),
            "logins meanwhile": float(logins),
            "signatures a second": round(sum(made for made, _ in counted) / seconds, 1),
        }
    )
