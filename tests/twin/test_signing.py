"""Tokens, keys and certificates on the devices of both centres: as declared, and told where they are not (C-SIG-02)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from qhs import pki, trust_access
from qhs.hsm.keys import KeysReport
from qhs.layout import topology
from qhs.pki import stand_in
from qhs.twin import boot, lifecycle
from qhs.twin.names import Twin
from qhs.twin.sshkey import make
from tests.twin.conftest import Run, WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.trust import DEVICES, ESTATE, SITE_OF, SOFTHSM, TOKENS, of_store, of_token, pins
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

KEYS = [(token.label, key.label) for token in TOKENS for key in token.keys]
LOOKS = 75
"""Seconds: a signer looks once a minute whether its device signs with every key."""
STACK = "twin.{}.signing"


def pulumi(qhs: Run, site: str, *words: str) -> subprocess.CompletedProcess[str]:
    return qhs("shell", "--", "pulumi", *words, "-s", STACK.format(site), "--non-interactive", "--color=never")


@pytest.fixture(autouse=True, scope="module")
def standing(qhs: Run, second_up: WatchedUp) -> Iterator[None]:
    """Whatever these tests did, both stacks are as declared after them."""
    yield
    for site in DEVICES:
        done = pulumi(qhs, site, "preview", "--refresh", "--expect-no-changes")
        assert done.returncode == 0, done.stdout[-3000:]


def test_every_key_is_on_all_devices_of_both_centres_and_signs(twin: Twin) -> None:
    assert {site: len(hosts) for site, hosts in DEVICES.items()} == {"qhdc": 2, "ndc": 2}
    assert len(KEYS) == 11
    for token, label in KEYS:
        publics, certificates = set(), set()
        for device in SITE_OF:
            found = of_token(twin, device, token, lambda one: one.keys())
            assert found.keys() - {"transport"} == {"kek", *(key for of, key in KEYS if of == token)}
            assert of_token(twin, device, token, lambda one, at=label: one.ask("prove", label=at)) == {"verified": True}
            key = found[label]
            assert (key["sensitive"], key["extractable"], key["private"], key["uses"]) == (True, False, True, ["sign"])
            publics.add(key["public"])
            certificates.add(key["certificate"])
        assert len(publics) == len(certificates) == 1
        leaf = x509.load_der_x509_certificate(bytes.fromhex(certificates.pop()))
        public = leaf.public_key()
        assert isinstance(public, rsa.RSAPublicKey)
        assert public.key_size == 3072


def test_openssl_takes_every_certificate_for_what_it_is_for(twin: Twin, tmp_path: Path) -> None:
    folder = trust_access.certificates(twin)
    for _, label in KEYS:
        # Before 3.2 it knows none for code: whose certificate may let an image in is asked as one is promoted.
        purpose = {"time-stamp": "timestampsign", "images": "any"}.get(label, "smimesign")
        done = subprocess.run(
            ["openssl", "verify", "-purpose", purpose, "-CAfile", folder / "stand-in.pem", folder / f"{label}.pem"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_no_pin_is_that_of_another_token(twin: Twin) -> None:
    found = [text for own in pins(twin).values() for text in (own["pin"], own["so_pin"])]
    assert len(found) == 2 * len(SITE_OF) * len(TOKENS)
    assert len(set(found)) == len(found)
    assert min(map(len, found)) >= 32


def test_what_was_changed_by_hand_is_seen_and_put_right(twin: Twin, qhs: Run, hosts: Hosts) -> None:
    """A key destroyed or made, a certificate swapped, a token gone, a policy widened: each in a plan, by name."""
    of_token(twin, "ndc-hsm1", "qlvb", lambda one: one.ask("remove-key", label="qlvb"))
    stand_in = trust_access.certificates(twin) / "so-hoa.pem"
    other = x509.load_pem_x509_certificate(stand_in.read_bytes())
    swapped = resigned(twin, "so-hoa")
    assert swapped.public_key() == other.public_key()
    der = swapped.public_bytes(Encoding.DER).hex()
    of_token(twin, "ndc-hsm2", "so-hoa", lambda one: one.ask("take-certificate", label="so-hoa", certificate=der))
    hosts.say(f"{SOFTHSM} --delete-token --token tthc", ["ndc-hsm2"])
    by_hand = {"label": "by-hand", "algorithm": "ec-p256", "use": "sign"}
    of_token(twin, "ndc-hsm1", "bau-cu", lambda one: one.ask("make-key", **by_hand))
    policy = "sys/policies/acl/signer-ndc-hsm1"
    text = of_store(twin, "ndc", lambda one: one.read(policy) or {})["policy"]
    wide = 'path "secret/*" { capabilities = ["read"] }\n'
    of_store(twin, "ndc", lambda one: one.write(policy, policy=text + wide))
    seen = pulumi(qhs, "ndc", "preview", "--refresh", "--diff")
    for said in (
        "ndc-hsm1: no such key",
        "ndc-hsm1: no certificate",
        "ndc-hsm2: another certificate",
        "ndc-hsm2: no token",
        "ndc-hsm1: nobody declared its key by-hand",
        "secret/*",
    ):
        assert said in seen.stdout, (said, seen.stdout[-6000:])
    done = pulumi(qhs, "ndc", "up", "--refresh", "--yes")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "nobody declared its key by-hand" in pulumi(qhs, "ndc", "stack", "output", "gaps").stdout
    of_token(twin, "ndc-hsm1", "bau-cu", lambda one: one.ask("remove-key", label="by-hand"))
    assert pulumi(qhs, "ndc", "up", "--refresh", "--yes").returncode == 0
    assert "by-hand" not in pulumi(qhs, "ndc", "stack", "output", "gaps").stdout
    assert of_token(twin, "ndc-hsm2", "tthc", lambda one: one.ask("prove", label="tthc")) == {"verified": True}
    assert of_token(twin, "ndc-hsm1", "qlvb", lambda one: one.ask("prove", label="qlvb")) == {"verified": True}


def resigned(twin: Twin, label: str) -> x509.Certificate:
    """Another certificate of the same key."""
    kept = of_store(twin, "qhdc", lambda one: one.secret(f"signing/{label}/{label}") or {})
    return x509.load_pem_x509_certificate(stand_in.issue(pki.folder(twin), kept["request"], "duty"))


def test_another_key_under_the_same_label_is_refused(twin: Twin, qhs: Run) -> None:
    of_token(twin, "ndc-hsm1", "qlvb", lambda one: one.ask("remove-key", label="qlvb"))
    given = {"label": "qlvb", "algorithm": "rsa-3072", "use": "sign"}
    of_token(twin, "ndc-hsm1", "qlvb", lambda one: one.ask("make-key", **given))
    done = pulumi(qhs, "ndc", "up", "--refresh", "--yes")
    assert done.returncode != 0
    assert "ndc-hsm1: ndc/qlvb/qlvb: found another key; wanted the key that the site keeps" in done.stdout
    of_token(twin, "ndc-hsm1", "qlvb", lambda one: one.ask("remove-key", label="qlvb"))
    assert pulumi(qhs, "ndc", "up", "--refresh", "--yes").returncode == 0


def test_a_device_that_is_off_is_a_gap_that_the_next_update_closes(twin: Twin, qhs: Run) -> None:
    boot.power_off(twin, ["ndc-hsm2"])
    try:
        done = pulumi(qhs, "ndc", "up", "--refresh", "--yes")
        assert done.returncode == 0, done.stdout[-3000:]
        gaps = pulumi(qhs, "ndc", "stack", "output", "gaps").stdout
        assert "ndc-hsm2: it does not answer" in gaps
    finally:
        lifecycle.up(topology(ESTATE), twin=twin)
    done = pulumi(qhs, "ndc", "up", "--refresh", "--yes")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "ndc-hsm2" not in pulumi(qhs, "ndc", "stack", "output", "gaps").stdout


def test_a_key_that_one_centre_alone_has_is_told_of_by_the_other(twin: Twin, qhs: Run, hosts: Hosts) -> None:
    """T-E09: as after it was made and not brought there. At once by who asks, and by what an alert looks at."""
    for device in DEVICES["ndc"]:
        of_token(twin, device, "ky-so", lambda one: one.ask("remove-key", label="nguoi-ky-03"))
    assert lacking(qhs, "nguoi-ky-03") == set(DEVICES["ndc"])
    seen = pulumi(qhs, "ndc", "preview", "--refresh", "--diff").stdout
    assert all(f"{device}: no such key" in seen for device in DEVICES["ndc"]), seen[-3000:]
    metrics = "cat /var/lib/prometheus/node-exporter/qhs_signer.prom"
    await_(lambda: all("keys_lacking 0001" in said for said in hosts.say(metrics, DEVICES["ndc"]).values()), LOOKS)
    done = pulumi(qhs, "ndc", "up", "--refresh", "--yes")
    assert done.returncode == 0, done.stdout[-3000:]
    assert lacking(qhs, "nguoi-ky-03") == set()


def lacking(qhs: Run, label: str) -> set[str]:
    """The devices of which `qhs hsm verify` says that they have no such key: it opens every token anew."""
    done = qhs("hsm", "verify", "--json")
    report = KeysReport.model_validate_json(done.stdout)
    assert done.returncode == report.code
    (key,) = (one for one in report.keys if one.label == label)
    found = {one.device for one in key.devices if one.found == "no such key"}
    assert report.code == (3 if found else 0)
    return found


def test_nothing_takes_a_key_away_without_an_approval(twin: Twin, qhs: Run) -> None:
    """T-A11: refused before anything is done."""
    done = pulumi(qhs, "ndc", "destroy", "--yes")
    assert done.returncode != 0
    assert "is protected" in done.stdout + done.stderr
    assert of_token(twin, "ndc-hsm1", "qlvb", lambda one: one.ask("prove", label="qlvb")) == {"verified": True}


def test_a_key_is_destroyed_by_the_consent_of_two_and_not_without(twin: Twin, qhs: Run, tmp_path: Path) -> None:
    """T-A11. At the other centre it stays, so this one has it back from there."""
    parents = "qhs:signing:Site$qhs:signing:Partition"
    urn = f"urn:pulumi:twin.ndc.signing::qhs::{parents}$qhs:signing:Key::ky-so.nguoi-ky-03.ndc"
    destroy = ("destroy", "--yes", "--target", urn, "--target-dependents")
    assert pulumi(qhs, "ndc", "state", "unprotect", urn, "--yes").returncode == 0
    refused = pulumi(qhs, "ndc", *destroy)
    assert refused.returncode != 0
    assert "wanted an approval that names it, signed by 2 of" in refused.stdout, refused.stdout[-3000:]
    assert of_token(twin, "ndc-hsm1", "ky-so", lambda one: one.keys())["nguoi-ky-03"]
    file = qhs("approve", "new", "delete", urn, "--reason", "thử").stdout.strip()
    for name in ("chu-nhiem", "pho-chu-nhiem"):
        key = make(tmp_path / name / "key")
        assert qhs("approve", "approver", name, "--key", f"{key}.pub").returncode == 0
        assert qhs("approve", "sign", file, "--as", name, "--key", str(key)).returncode == 0
    done = pulumi(qhs, "ndc", *destroy)
    assert done.returncode == 0, done.stdout[-3000:]
    assert lacking(qhs, "nguoi-ky-03") == set(DEVICES["ndc"]), "T-E16: nor for a process that opens the token anew"
    assert pulumi(qhs, "ndc", "up", "--yes").returncode == 0
    for device in DEVICES["ndc"]:
        proved = of_token(twin, device, "ky-so", lambda one: one.ask("prove", label="nguoi-ky-03"))
        assert proved == {"verified": True}


def test_a_store_that_is_sealed_is_said_with_its_reason(qhs: Run, hosts: Hosts) -> None:
    nodes = list(trust_access.stores(ESTATE)["ndc"])
    hosts.say("systemctl stop qhs-openbao.service", nodes)
    try:
        done = pulumi(qhs, "ndc", "up", "--yes", "--refresh")
    finally:
        hosts.say("systemctl start qhs-openbao.service", nodes)
    assert done.returncode != 0
    assert "the secret store of ndc lets nobody in: " in done.stderr  # the engine cannot even read its state
    assert "Traceback" not in done.stdout + done.stderr
