"""The kinds `qhs:signing:*` on devices that really are SoftHSM's; only ssh and the secret store are stood in for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from qhs import image
from qhs.pki import stand_in
from stacks.provider.settings import ProviderError, Settings
from stacks.provider.signing import handler
from stacks.provider.signing.installed import CertificateHandler
from stacks.provider.signing.keys import KeyHandler
from stacks.provider.signing.requests import RequestHandler
from stacks.provider.signing.tokens import TokenHandler
from tests.kernel.hsm_estate import Estate
from tests.kernel.hsm_host import HsmHost, standing

SITES = {"qhdc": ["qhdc-hsm1", "qhdc-hsm2"], "ndc": ["ndc-hsm1"]}
DECLARED = {"token": "qlvb", "owner": "vpqh-hanh-chinh", "level": 3, "serves": ["S-050"]}
KEY = {"label": "qlvb", "algorithm": "ec-p256", "use": "sign"}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, HsmHost]]:
    names = [name for machines in SITES.values() for name in machines]
    with standing(names, tmp_path_factory.mktemp("devices"), image.ensure(print).path) as made:
        yield made


@pytest.fixture
def estate(hosts: dict[str, HsmHost], monkeypatch: pytest.MonkeyPatch) -> Iterator[Estate]:
    """Without any token."""
    found = Estate(hosts, SITES)
    found.stand_in(monkeypatch)
    yield found
    found.empty()


def at(site: str, **more: Any) -> dict[str, Any]:
    """Inputs of a kind at a site."""
    others = {other: machines for other, machines in SITES.items() if other != site}
    shared = {"elsewhere": others, "founds": site == "qhdc", "keys": [KEY["label"]]}
    return {**DECLARED, "site": site, "devices": SITES[site], **shared, **more}


def made(kind: type[handler.SigningHandler], inputs: dict[str, Any]) -> dict[str, Any]:
    told = kind(Settings()).write("urn:x", inputs) or {}
    read = kind(Settings()).read("", inputs)
    assert read is not None
    found, outputs = read
    assert found == inputs
    assert outputs == {**kind(Settings()).outputs("urn:x", inputs), **told}
    return outputs


def refused(kind: type[handler.SigningHandler], inputs: dict[str, Any]) -> str:
    with pytest.raises(ProviderError) as error:
        kind(Settings()).write("urn:x", inputs)
    return str(error.value)


def test_tokens_keys_and_certificates_come_to_every_device_of_both_sites(estate: Estate, tmp_path: Path) -> None:
    publics = []
    for site in SITES:
        assert made(TokenHandler, at(site))["gaps"] == []
        publics.append(made(KeyHandler, at(site, **KEY))["public"])
    assert publics[0] == publics[1]
    asked = {**DECLARED, "site": "qhdc", "devices": SITES["qhdc"], "label": "qlvb", "subject": "Văn phòng Quốc hội/QH"}
    pem = made(RequestHandler, asked)["pem"]
    request = x509.load_pem_x509_csr(pem.encode())
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=Văn phòng Quốc hội,O=QH,C=VN"
    anchor, chain = stand_in.ensure(tmp_path).decode(), stand_in.issue(tmp_path, pem, "duty").decode()
    given = {"label": "qlvb", "purpose": "duty", "authority": "stand-in", "anchor": anchor, "chain": chain}
    for site, machines in SITES.items():
        own = {**DECLARED, "site": site, "devices": machines, **given}
        assert made(CertificateHandler, own)["issuer"] == "CN=QHS stand-in authority"


def test_a_site_that_does_not_found_makes_nothing(estate: Estate) -> None:
    assert "no device that answers has the key of its domain" in refused(TokenHandler, at("ndc"))
    made(TokenHandler, at("qhdc"))
    made(TokenHandler, at("ndc"))
    assert "no device has this key; wanted one of qhdc that has" in refused(KeyHandler, at("ndc", **KEY))
    assert "qlvb" not in {
        one["label"] for one in estate.token(Settings(), "ndc", "ndc-hsm1", "qlvb").ask("keys")["keys"]
    }


def test_a_domain_that_was_founded_is_not_founded_again(estate: Estate, hosts: dict[str, HsmHost]) -> None:
    """A new key of the domain would open nothing that the old one has wrapped."""
    made(TokenHandler, at("qhdc"))
    for name in SITES["qhdc"]:
        hosts[name].delete("qlvb")
    said = refused(TokenHandler, at("qhdc"))
    assert "no device that answers has the key of its domain" in said
    assert "bring back a device that has it" in said


def test_a_lost_token_comes_back_with_its_keys(estate: Estate, hosts: dict[str, HsmHost]) -> None:
    """T-E08: from another device, by what the site keeps wrapped."""
    made(TokenHandler, at("qhdc"))
    public = made(KeyHandler, at("qhdc", **KEY))["public"]
    hosts["qhdc-hsm1"].delete("qlvb")
    read = KeyHandler(Settings()).read("", at("qhdc", **KEY))
    assert read and read[1]["gaps"] == ["qhdc-hsm1: no token"]
    made(TokenHandler, at("qhdc"))
    assert made(KeyHandler, at("qhdc", **KEY))["public"] == public
    for name in SITES["qhdc"]:
        assert estate.token(Settings(), "qhdc", name, "qlvb").ask("prove", label="qlvb") == {"verified": True}


def test_what_another_domain_wrapped_is_refused_and_leaves_nothing(estate: Estate) -> None:
    made(TokenHandler, at("qhdc"))
    made(KeyHandler, at("qhdc", **KEY))
    alone = at("ndc", founds=True, elsewhere={})
    made(TokenHandler, alone)
    estate.stores["ndc"].secrets["signing/qlvb/qlvb"] = estate.stores["qhdc"].secrets["signing/qlvb/qlvb"]
    said = refused(KeyHandler, at("ndc", **KEY))
    assert "the key of this domain does not open it" in said
    there = estate.token(Settings(), "ndc", "ndc-hsm1", "qlvb").ask("keys")["keys"]
    assert "qlvb" not in {one["label"] for one in there}


def test_a_device_that_is_silent_is_a_gap_and_closed_later(estate: Estate) -> None:
    estate.silent = {"qhdc-hsm2"}
    told = TokenHandler(Settings()).write("urn:x", at("qhdc"))
    assert [gap.partition(":")[0] for gap in told["gaps"]] == ["qhdc-hsm2"]
    (gap,) = (KeyHandler(Settings()).write("urn:x", at("qhdc", **KEY)) or {})["gaps"]
    assert gap.startswith("qhdc-hsm2: ")
    estate.silent = set()
    estate.again()
    assert made(TokenHandler, at("qhdc"))["gaps"] == []
    assert made(KeyHandler, at("qhdc", **KEY))["gaps"] == []


def test_a_key_that_somebody_made_by_hand_is_told_of_until_it_is_gone(estate: Estate) -> None:
    made(TokenHandler, at("qhdc"))
    made(KeyHandler, at("qhdc", **KEY))
    there = estate.token(Settings(), "qhdc", "qhdc-hsm1", "qlvb")
    there.ask("make-key", **{**KEY, "label": "by-hand"})
    assert made(TokenHandler, at("qhdc"))["gaps"] == ["qhdc-hsm1: nobody declared its key by-hand"]
    there.ask("remove-key", label="by-hand")
    assert made(TokenHandler, at("qhdc"))["gaps"] == []


def test_a_key_that_is_made_while_the_other_site_is_silent_is_told_of_there_and_comes_later(estate: Estate) -> None:
    """T-E09: by the run that makes it, which ends with it, and by every one until that site has it."""
    for site in SITES:
        made(TokenHandler, at(site))
    estate.silent = set(SITES["ndc"])
    estate.again()
    public = made(KeyHandler, at("qhdc", **KEY))["public"]
    for _ in range(2):
        assert "ndc/qlvb/qlvb: no device of the site has its token: ndc-hsm1: " in refused(KeyHandler, at("ndc", **KEY))
    estate.silent = set()
    estate.again()
    assert KeyHandler(Settings()).read("", at("ndc", **KEY)) is None
    brought = made(KeyHandler, at("ndc", **KEY))
    assert (brought["public"], brought["gaps"]) == (public, [])
    assert estate.token(Settings(), "ndc", "ndc-hsm1", "qlvb").ask("prove", label="qlvb") == {"verified": True}


def test_a_destroyed_key_is_gone_from_the_tokens_of_both_sites_for_whoever_opens_one(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T-E16: asked by processes that come later; and nothing is kept that it could come back from."""
    monkeypatch.setattr(KeyHandler, "require_approval", lambda *_: None)  # tests/unit/test_approvals.py has those
    for site in SITES:
        made(TokenHandler, at(site))
        public = made(KeyHandler, at(site, **KEY))["public"]
    opened = [
        (host, {"token": "qlvb", "pin": estate.stores[site].secrets[f"hsm/{machine}/qlvb"]["pin"]})
        for site, machines in SITES.items()
        for machine in machines
        for host in [estate.hosts[machine]]
    ]
    assert all(host.done("prove", **pin, label="qlvb") == {"verified": True} for host, pin in opened)
    for site in SITES:
        KeyHandler(Settings()).remove("urn:x", at(site, **KEY))
    for host, pin in opened:
        assert "qlvb" not in {one["label"] for one in host.done("keys", **pin)["keys"]}
        assert host.refused("prove", **pin, label="qlvb")[0] == "no-key"
    assert not any("signing/qlvb/qlvb" in kept.secrets for kept in estate.stores.values())
    assert made(KeyHandler, at("qhdc", **KEY))["public"] != public


def test_a_connection_that_ended_meanwhile_is_opened_anew(estate: Estate) -> None:
    """As when a host was off between two questions."""
    made(TokenHandler, at("qhdc"))
    device = estate.token(Settings(), "qhdc", "qhdc-hsm1", "qlvb")._device
    assert device._carried
    device._carried.close()
    assert made(TokenHandler, at("qhdc"))["gaps"] == []


def test_a_token_whose_pin_nobody_knows_is_left_alone(estate: Estate) -> None:
    made(TokenHandler, at("qhdc"))
    known = estate.stores["qhdc"].secrets.pop("hsm/qhdc-hsm1/qlvb")
    estate.again()
    assert "found a token qlvb whose PIN the secret store does not know" in refused(TokenHandler, at("qhdc"))
    assert "hsm/qhdc-hsm1/qlvb" not in estate.stores["qhdc"].secrets
    estate.stores["qhdc"].secrets["hsm/qhdc-hsm1/qlvb"] = {**known, "pin": "another-pin-of-the-test"}
    assert "it is not the PIN of this token" in refused(TokenHandler, at("qhdc"))
    estate.stores["qhdc"].secrets["hsm/qhdc-hsm1/qlvb"] = known
    assert made(TokenHandler, at("qhdc"))["gaps"] == []


def test_a_token_that_somebody_died_over_is_made_whole(estate: Estate, hosts: dict[str, HsmHost]) -> None:
    """Its PINs are in the store, and its user is not there yet."""
    own = {"so_pin": "officer-of-the-test-1", "pin": "pin-of-the-user-1"}
    estate.stores["qhdc"].secrets["hsm/qhdc-hsm1/qlvb"] = own
    hosts["qhdc-hsm1"].by_hand(f"""
from device import Device
device = Device.here()
device._lib.initToken(device._free("qlvb"), {own["so_pin"]!r}, "qlvb".ljust(32))
""")
    assert TokenHandler(Settings()).read("", at("qhdc")) is None
    assert made(TokenHandler, at("qhdc"))["gaps"] == []
    assert estate.stores["qhdc"].secrets["hsm/qhdc-hsm1/qlvb"] == own


@pytest.mark.parametrize("died", ["before the device", "after the device"])
def test_a_rotation_that_died_is_gone_on_with(estate: Estate, died: str) -> None:
    made(TokenHandler, at("qhdc"))
    where = "hsm/qhdc-hsm1/qlvb"
    own = estate.stores["qhdc"].secrets[where]
    estate.stores["qhdc"].secrets[where] = {**own, "next": "the-next-pin-of-the-test"}
    if died == "after the device":
        given = {"token": "qlvb", "pin": own["pin"], "new_pin": "the-next-pin-of-the-test"}
        estate.hosts["qhdc-hsm1"].done("change-pin", **given)
    estate.again()
    assert made(TokenHandler, at("qhdc"))["gaps"] == []
    assert estate.stores["qhdc"].secrets[where] == {"so_pin": own["so_pin"], "pin": "the-next-pin-of-the-test"}


def test_another_algorithm_under_the_same_label_is_refused(estate: Estate) -> None:
    made(TokenHandler, at("qhdc"))
    made(KeyHandler, at("qhdc", **KEY))
    said = refused(KeyHandler, at("qhdc", **KEY | {"algorithm": "rsa-3072"}))
    assert "found a key ec-p256 for sign; wanted rsa-3072 for sign" in said


def test_a_certificate_of_another_key_is_refused_before_anything_is_installed(estate: Estate, tmp_path: Path) -> None:
    made(TokenHandler, at("qhdc"))
    made(KeyHandler, at("qhdc", **KEY))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "another")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    request = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(Encoding.PEM)
    anchor = stand_in.ensure(tmp_path).decode()
    chain = stand_in.issue(tmp_path, request.decode(), "duty").decode()
    given = {"label": "qlvb", "purpose": "duty", "authority": "stand-in", "anchor": anchor, "chain": chain}
    own = {**DECLARED, "site": "qhdc", "devices": SITES["qhdc"], **given}
    assert "found another key; wanted the key of the certificate" in refused(CertificateHandler, own)
    read = CertificateHandler(Settings()).read("", own)
    assert read is None


def test_a_use_that_was_added_by_hand_is_seen_and_not_written_over(estate: Estate) -> None:
    made(TokenHandler, at("qhdc"))
    made(KeyHandler, at("qhdc", **KEY))
    pin = estate.stores["qhdc"].secrets["hsm/qhdc-hsm1/qlvb"]["pin"]
    estate.hosts["qhdc-hsm1"].by_hand(f"""
import PyKCS11
from device import Device
with Device.here().opened("qlvb", {pin!r}) as token:
    private = token._only(PyKCS11.CKO_PRIVATE_KEY, "qlvb")
    token._session.setAttributeValue(private, [(PyKCS11.CKA_DECRYPT, True)])
""")
    read = KeyHandler(Settings()).read("", at("qhdc", **KEY))
    assert read and read[1]["uses"] == "differs"
    assert "found uses ['decrypt', 'sign']" in refused(KeyHandler, at("qhdc", **KEY))
