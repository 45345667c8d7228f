"""The provisioning API of an HSM's host, on the genuine SoftHSM of the machine image."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from qhs import image
from tests.kernel.hsm_host import OFFICER, TOKEN, TOKENS, USER, HsmHost, join

KEY = {"label": "so-ban-hanh", "algorithm": "ec-p256", "use": "sign"}
KINDS = ("ec-p256", "ec-p384", "rsa-3072")


@pytest.fixture(scope="module")
def root() -> Path:
    return image.ensure(print).path


@pytest.fixture(scope="module")
def pair(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HsmHost, HsmHost]]:
    """Two devices of one domain, as any test may leave them."""
    folder = tmp_path_factory.mktemp("hsm")
    with HsmHost.at(folder / "first", root) as first, HsmHost.at(folder / "second", root) as second:
        for one in (first, second):
            assert one.done("make-token", **TOKEN | OFFICER) == {"made": True}
        first.done("make-kek", **TOKEN)
        join(first, "second", second)
        yield first, second


@pytest.fixture
def host(root: Path, tmp_path: Path) -> Iterator[HsmHost]:
    with HsmHost.at(tmp_path, root) as one:
        yield one


def keys(host: HsmHost) -> dict[str, dict[str, Any]]:
    return {one["label"]: one for one in host.done("keys", **TOKEN)["keys"]}


def take(label: str, made: dict[str, Any], wrapped: str) -> dict[str, str]:
    return {**TOKEN, "label": label, "use": "sign", "public": made["key"]["public"], "wrapped": wrapped}


@pytest.mark.parametrize("algorithm", KINDS)
def test_a_shared_key_signs_on_both_devices(pair: tuple[HsmHost, HsmHost], algorithm: str) -> None:
    first, second = pair
    made = first.done("make-shared-key", **TOKEN, label=algorithm, algorithm=algorithm, use="sign")
    assert made["made"]
    wrapped = first.done("wrapped", **TOKEN, label=algorithm)["wrapped"]
    assert second.done("take-key", **take(algorithm, made, wrapped)) == {"made": True}
    for one in pair:
        assert one.done("prove", **TOKEN, label=algorithm) == {"verified": True}
        assert keys(one)[algorithm] == made["key"]
    public = load_der_public_key(bytes.fromhex(made["key"]["public"]))
    assert isinstance(public, rsa.RSAPublicKey if algorithm.startswith("rsa") else ec.EllipticCurvePublicKey)
    # Asked again, both say what there is and change nothing.
    again = first.done("make-shared-key", **TOKEN, label=algorithm, algorithm=algorithm, use="sign")
    assert again == {**made, "made": False}
    assert second.done("take-key", **take(algorithm, made, wrapped)) == {"made": False}


def test_every_key_is_protected_and_has_one_use(pair: tuple[HsmHost, HsmHost]) -> None:
    first, second = pair
    first.done("make-key", **TOKEN, **KEY)
    for host in pair:
        for label, one in keys(host).items():
            assert one["sensitive"], label
            assert one["private"], label
            # The domain's own key may leave, but only for whom the officer trusts, and nobody can change that.
            assert one["extractable"] == (label == "kek")
            assert one["uses"] == {"kek": ["unwrap", "wrap"], "transport": ["unwrap"]}.get(label, ["sign"])
    assert keys(second)["kek"]["trusting"]
    assert not keys(second)["kek"]["modifiable"]


def test_who_is_measured_signs_from_the_moment_that_was_named(pair: tuple[HsmHost, HsmHost]) -> None:
    """So that processes that log in one after the other are measured side by side."""
    first, _ = pair
    first.done("make-key", **TOKEN, **KEY)
    given = {**TOKEN, "label": KEY["label"], "seconds": "1"}
    begin = time.time() + 2
    assert first.done("measure", **given, begin=str(begin))["signatures"] > 0
    assert time.time() >= begin + 1
    for off in (-1, 60):
        assert first.refused("measure", **given, begin=str(time.time() + off))[0] == "moment"


CKR_ACTION_PROHIBITED = "0x1b"  # of PKCS#11 2.40; the library's names are of before


def test_who_has_the_pin_gets_no_key_out(pair: tuple[HsmHost, HsmHost]) -> None:
    first, _ = pair
    first.done("make-shared-key", **TOKEN, label="guarded", algorithm="ec-p256", use="sign")
    first.done("make-key", **TOKEN, label="hashing", algorithm="rsa-3072", use="sign")
    found = dict(line.split(" ", 1) for line in first.by_hand(ATTACKS).splitlines())
    assert found == {
        "value": "None",
        "unwrap-readable": "CKR_TEMPLATE_INCONSISTENT",
        "unwrap-as-secret": "CKR_TEMPLATE_INCONSISTENT",
        "wrap-sealed": "CKR_KEY_UNEXTRACTABLE",
        "unseal": "CKR_ATTRIBUTE_READ_ONLY",
        "wrap-kek-for-own": "CKR_KEY_NOT_WRAPPABLE",
        "trust-own": "CKR_ATTRIBUTE_READ_ONLY",
        "change-kek": CKR_ACTION_PROHIBITED,
        "hash-sha1": "CKR_MECHANISM_INVALID",
    }


ATTACKS = """
import os
from pathlib import Path
from PyKCS11 import *
from PyKCS11 import PyKCS11Error
from attributes import numbers
from cryptography.hazmat.primitives.asymmetric import rsa
from device import Device
from opened import OAEP, WRAP


def tried(name, act):
    try:
        print(name, act())
    except PyKCS11Error as error:
        print(name, CKR.get(error.value, hex(error.value)))


device = Device("/usr/lib/softhsm/libsofthsm2.so", Path("/run/qhs-hsm"), None)
with device.opened("ky-so", os.environ["PIN"]) as token:
    session, kek = token._session, token._kek()
    private, blob = token._only(CKO_PRIVATE_KEY, "guarded"), token.wrapped("guarded")
    readable = [(CKA_SENSITIVE, False), (CKA_EXTRACTABLE, True)]
    as_key = [(CKA_CLASS, CKO_PRIVATE_KEY), (CKA_KEY_TYPE, CKK_EC), *readable]
    as_secret = [(CKA_CLASS, CKO_SECRET_KEY), (CKA_KEY_TYPE, CKK_GENERIC_SECRET), *readable]
    tried("value", lambda: session.getAttributeValue(private, [CKA_VALUE])[0])
    tried("unwrap-readable", lambda: session.unwrapKey(kek, blob, as_key, WRAP))
    tried("unwrap-as-secret", lambda: session.unwrapKey(kek, blob, as_secret, WRAP))
    tried("wrap-sealed", lambda: session.wrapKey(kek, private, WRAP))
    tried("unseal", lambda: session.setAttributeValue(private, [(CKA_EXTRACTABLE, True)]))
    public = rsa.generate_private_key(65537, 3072).public_key()
    own = session.createObject([(CKA_CLASS, CKO_PUBLIC_KEY), (CKA_WRAP, True), *numbers(public)])
    tried("wrap-kek-for-own", lambda: session.wrapKey(own, kek, OAEP))
    tried("trust-own", lambda: session.setAttributeValue(own, [(CKA_TRUSTED, True)]))
    tried("change-kek", lambda: session.setAttributeValue(kek, [(CKA_EXTRACTABLE, False)]))
    rsa_key = token._only(CKO_PRIVATE_KEY, "hashing")
    tried("hash-sha1", lambda: session.sign(rsa_key, b"x", Mechanism(CKM_SHA1_RSA_PKCS, None)))
"""


def test_a_key_of_another_domain_is_refused_and_leaves_nothing(host: HsmHost, pair: tuple[HsmHost, HsmHost]) -> None:
    first, _ = pair
    made = first.done("make-shared-key", **TOKEN, label="foreign", algorithm="ec-p256", use="sign")
    wrapped = first.done("wrapped", **TOKEN, label="foreign")["wrapped"]
    host.done("make-token", **TOKEN | OFFICER)
    assert host.refused("take-key", **take("foreign", made, wrapped))[0] == "no-kek"
    host.done("make-kek", **TOKEN)
    assert host.refused("take-key", **take("foreign", made, wrapped))[0] == "kek"
    assert keys(host).keys() == {"kek"}
    public = host.done("transport", **TOKEN)["public"]
    assert host.refused("kek-for", **TOKEN, device_name="unknown")[0] == "trust"
    first.done("trust", **OFFICER, device_name="late", public=public)
    assert not host.done("take-kek", **TOKEN, wrapped="00" * 384)["made"]  # it has one: nothing is looked at


def test_the_wrapped_key_of_another_public_one_is_refused(pair: tuple[HsmHost, HsmHost]) -> None:
    first, second = pair
    one, other = (first.done("make-shared-key", **TOKEN, label=it, algorithm="ec-p256", use="sign") for it in "ab")
    wrapped = first.done("wrapped", **TOKEN, label="a")["wrapped"]
    assert second.refused("take-key", **take("a", other, wrapped))[0] == "other-key"
    assert "a" not in keys(second)
    second.done("take-key", **take("a", one, wrapped))
    code, message = second.refused("take-key", **take("a", other, wrapped))
    assert (code, message) == ("other-key", "a: ky-so has another key of this label; nothing changed")
    assert second.done("prove", **TOKEN, label="a") == {"verified": True}


def test_a_wrong_pin_is_said_and_one_that_may_be_the_last_is_not_tried(host: HsmHost) -> None:
    host.done("make-token", **TOKEN | OFFICER)
    wrong = {**TOKEN, "pin": "another-pin-of-1"}
    assert host.refused("keys", **wrong) == ("pin", "ky-so: it is not the PIN of this token")
    assert host.refused("make-token", **{**wrong, **OFFICER})[0] == "pin"
    assert host.refused("keys", **{**TOKEN, "token": "none"})[0] == "no-token"
    said = host.by_hand("""
import os
from pathlib import Path
import PyKCS11
from device import Device
from refused import RefusedError
tries = []
PyKCS11.Session.login = lambda *given: tries.append(given)
device = Device("/usr/lib/softhsm/libsofthsm2.so", Path("/run/qhs-hsm"), None)
device._has = lambda slot, flag: bool(flag & (PyKCS11.CKF_USER_PIN_INITIALIZED | PyKCS11.CKF_USER_PIN_FINAL_TRY))
try:
    with device.opened("ky-so", os.environ["PIN"]):
        pass
except RefusedError as refused:
    print(refused.code, len(tries))
""")
    assert said == "last-try 0\n"


def test_a_pin_changes_under_a_session_that_signs(host: HsmHost) -> None:
    host.done("make-token", **TOKEN | OFFICER)
    host.done("make-key", **TOKEN, **KEY)
    assert host.done("change-pin", **TOKEN, new_pin="the-next-pin-of-1") == {"changed": True}
    assert host.refused("keys", **TOKEN)[0] == "pin"
    assert host.done("prove", **TOKEN | {"pin": "the-next-pin-of-1"}, label=KEY["label"]) == {"verified": True}


def test_a_token_is_found_by_its_label_wherever_its_slot_is(host: HsmHost) -> None:
    """T-E01: a token that is gone renumbers the others."""
    for name in ("a", "b", "c"):
        host.done("make-token", **TOKEN | OFFICER | {"token": name})
        host.done("make-key", **TOKEN | KEY | {"token": name, "label": name})
    assert [one["label"] for one in host.done("tokens")["tokens"]] == ["a", "b", "c"]
    host.by_hand("import subprocess; subprocess.run(['softhsm2-util', '--delete-token', '--token', 'a'], check=True)")
    host.done("make-token", **TOKEN | OFFICER | {"token": "d"})
    for name in ("b", "c"):
        assert host.done("prove", **TOKEN | {"token": name}, label=name) == {"verified": True}
    assert host.refused("prove", **TOKEN | {"token": "a"}, label="a")[0] == "no-token"


def test_killed_at_any_moment_the_next_try_ends_with_one_whole_key(pair: tuple[HsmHost, HsmHost]) -> None:
    first, second = pair
    chance = random.Random(8)  # noqa: S311 - moments, no secrets
    label = {**TOKEN, "label": "cut-off"}
    given = {**label, "algorithm": "ec-p256", "use": "sign"}
    began = time.monotonic()
    first.done("make-shared-key", **given)
    whole = time.monotonic() - began

    def killed(asking: subprocess.Popen[str]) -> None:
        time.sleep(chance.uniform(whole / 2, whole))
        asking.kill()
        asking.wait()

    for _ in range(10):
        first.done("remove-key", **label)
        killed(first.start("make-shared-key", **given))
        made = first.done("make-shared-key", **given)
        its = take("cut-off", made, first.done("wrapped", **label)["wrapped"])
        killed(second.start("take-key", **its))
        second.done("take-key", **its)
        for host in pair:
            assert host.done("prove", **label) == {"verified": True}
            assert not keys(host)["cut-off"]["extractable"]
        second.done("remove-key", **label)


def test_a_token_that_died_in_a_login_is_back(host: HsmHost) -> None:
    """SoftHSM empties a token's file before it writes it."""
    host.done("make-token", **TOKEN | OFFICER)
    host.done("make-key", **TOKEN, **KEY)
    (file,) = (host.root / TOKENS).glob("*/token.object")
    file.write_bytes(b"")
    assert host.done("prove", **TOKEN, label=KEY["label"]) == {"verified": True}
    made = file.parent.with_name("died-while-it-was-made")
    made.mkdir()
    (made / "token.object").touch()
    shutil.chown(made, USER, USER)
    assert [one["label"] for one in host.done("tokens")["tokens"]] == ["ky-so"]
    assert not made.exists()


def test_a_module_that_does_not_load_is_one_answer_too(host: HsmHost) -> None:
    settings = host.root / "etc/qhs/hsm/module.json"
    settings.write_text(settings.read_text().replace("libsofthsm2", "libnone"))
    asking = host.start("tokens")
    assert asking.stdout
    assert json.loads(asking.stdout.read())["error"]["code"] == "device"
    assert asking.wait() == 1


def test_many_at_once_take_turns(pair: tuple[HsmHost, HsmHost]) -> None:
    first, _ = pair
    first.done("make-key", **TOKEN, **KEY)
    asking = [first.start("prove", **TOKEN, label=KEY["label"]) for _ in range(16)]
    assert [first.answer(one) for one in asking] == [{"verified": True}] * 16


@pytest.mark.parametrize(
    ("verb", "given", "code"),
    [
        ("make-key", {**TOKEN, **KEY, "algorithm": "rsa-1024"}, "input"),
        ("make-key", {**TOKEN, **KEY, "use": "sign decrypt"}, "input"),
        ("make-key", {**TOKEN, **KEY, "label": "../key"}, "input"),
        ("make-key", {**TOKEN, **KEY, "label": "k" * 33}, "input"),
        ("make-key", {**TOKEN, **KEY, "slot": "0"}, "usage"),
        ("make-key", TOKEN, "usage"),
        ("make-token", {**TOKEN, "so_pin": "short"}, "input"),
        ("take-key", {**TOKEN, "label": "k", "use": "sign", "public": "xyz", "wrapped": "00"}, "input"),
        ("make-key; id", {}, "usage"),
        ("bash", {}, "usage"),
        ("keys", {"token": "ky-so", "pin": "p" * 70_000}, "input"),
    ],
)
def test_bad_input_is_refused_before_the_device_is_asked(
    pair: tuple[HsmHost, HsmHost], verb: str, given: dict[str, str], code: str
) -> None:
    assert pair[0].refused(verb, **given)[0] == code
