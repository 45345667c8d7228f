"""Remote signing at both centres: what it signs others take, what was not released it refuses."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
import requests
from asn1crypto import tsp
from chained import broken

from qhs import pki, trust_access, whole
from qhs.pki import stand_in
from qhs.signing.client import Credential, SigningError, SigningService
from qhs.twin import boot, inside, outage
from qhs.twin.names import Twin
from stacks.provider.signing.devices import pins_at
from tests.pace import Pace
from tests.signed_pdf import judged, with_signature
from tests.twin.conftest import MEASURED, Run, WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.signing_service import SIGNATORY, asked, credential, file_of
from tests.twin.trust import DEVICES, ESTATE, SITE_OF, of_store, of_token, pins
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

SITES = tuple(DEVICES)
DATA = "Luật này đã được Quốc hội thông qua".encode()
DIGEST = hashlib.sha256(DATA).digest()
CLIENTS = 16


@pytest.fixture(autouse=True)
def standing(twin: Twin, second_up: WatchedUp) -> Iterator[None]:
    """Both centres sign with both devices, before and after."""
    await_(lambda: all(signs(twin, device) for device in SITE_OF), 60)
    yield
    await_(lambda: all(signs(twin, device) for device in SITE_OF), 60)


def healthy(twin: Twin, site: str) -> bool:
    try:
        return bool(asked(twin, site, lambda one: signed(twin, one, "raw")))
    except (SigningError, requests.RequestException):
        return False


def signed(twin: Twin, service: SigningService, form: str, digest: bytes = DIGEST) -> bytes:
    return service.sign(credential(twin), SIGNATORY, digest, form=form)


def anchor(twin: Twin) -> Path:
    return trust_access.certificates(twin) / "stand-in.pem"


def openssl(*words: object, ok: bool = True) -> str:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("site", SITES)
def test_openssl_takes_a_signature_of_either_centre_and_no_other_text(twin: Twin, site: str, tmp_path: Path) -> None:
    cms, text, other, another = (tmp_path / name for name in ("cms", "text", "other", "another.pem"))
    cms.write_bytes(asked(twin, site, lambda one: signed(twin, one, "cades")))
    text.write_bytes(DATA)
    other.write_bytes(DATA.replace("thông".encode(), "không".encode()))
    revoked, trusted = stand_in.AUTHORITY.revoked(pki.folder(twin)), tmp_path / "trusted.pem"
    trusted.write_bytes(anchor(twin).read_bytes() + revoked.read_bytes())
    verify = [
        "cms",
        "-verify",
        "-inform",
        "DER",
        "-in",
        cms,
        "-binary",
        "-purpose",
        "any",
        "-out",
        "/dev/null",
        "-cades",
    ]
    assert "successful" in openssl(*verify, "-content", text, "-CAfile", trusted, "-crl_check")
    openssl(*verify, "-content", other, "-CAfile", anchor(twin), ok=False)
    another.write_text((Path(__file__).parents[1] / "policies/certificates/authority.pem").read_text())
    openssl(*verify, "-content", text, "-CAfile", another, ok=False)


def test_a_signature_of_one_centre_is_that_of_the_other(twin: Twin) -> None:
    """RSASSA-PKCS1-v1_5 is the same each time, so by it one sees that it is one key."""
    one, other = (asked(twin, site, lambda service: signed(twin, service, "raw")) for site in SITES)
    assert one == other


@pytest.mark.parametrize("site", SITES)
def test_a_signed_document_is_taken_by_others_and_a_changed_one_is_not(twin: Twin, site: str, tmp_path: Path) -> None:
    pdf = with_signature(lambda digest: asked(twin, site, lambda one: signed(twin, one, "pades", digest)))
    status = judged(pdf, anchor(twin), stand_in.AUTHORITY.revoked(pki.folder(twin)))
    assert status.bottom_line, status.pretty_print_details()
    assert abs((status.timestamp_validity.timestamp - datetime.now(UTC)).total_seconds()) < 30
    (tmp_path / "signed.pdf").write_bytes(pdf)
    said = subprocess.run(["pdfsig", "-nocert", tmp_path / "signed.pdf"], capture_output=True, text=True, check=False)
    assert "Signature is Valid" in said.stdout, said.stdout + said.stderr
    assert "ETSI.CAdES.detached" in said.stdout
    at = pdf.index(b"/MediaBox")
    changed = pdf[:at] + pdf[at:].replace(b"200", b"201", 1)
    assert not judged(changed, anchor(twin)).bottom_line
    (tmp_path / "signed.pdf").write_bytes(changed)
    said = subprocess.run(["pdfsig", "-nocert", tmp_path / "signed.pdf"], capture_output=True, text=True, check=False)
    assert "Signature is Valid" not in said.stdout


@pytest.mark.parametrize("site", SITES)
def test_a_time_stamp_is_right_to_the_second_and_openssl_takes_it(twin: Twin, site: str, tmp_path: Path) -> None:
    query, reply, text = (tmp_path / name for name in ("query", "reply", "text"))
    text.write_bytes(DATA)
    openssl("ts", "-query", "-data", text, "-sha256", "-cert", "-out", query)
    before = datetime.now(UTC)
    reply.write_bytes(asked(twin, site, lambda one: one.stamp(query.read_bytes()), "time-stamp"))
    after = datetime.now(UTC)
    assert "Verification: OK" in openssl("ts", "-verify", "-queryfile", query, "-in", reply, "-CAfile", anchor(twin))
    info = tsp.TimeStampResp.load(reply.read_bytes())["time_stamp_token"]["content"]["encap_content_info"]["content"]
    moment = info.parsed["gen_time"].native
    assert (before - moment).total_seconds() < 1
    assert (moment - after).total_seconds() < 1


def refused(twin: Twin, release: str, digest: bytes = DIGEST, key: str = SIGNATORY, form: str = "raw") -> str:
    with pytest.raises(SigningError) as error:
        asked(twin, "qhdc", lambda one: one.sign_released(release, key, digest, form=form))
    return error.value.code


def test_what_was_not_released_is_refused_and_stands_in_the_log(twin: Twin, hosts: Hosts) -> None:
    """T-E11: a release that was used, for another text, too old, and of somebody else."""
    own = credential(twin)
    release = own.release(SIGNATORY, DIGEST, "sha256", "raw")
    asked(twin, "qhdc", lambda one: one.sign_released(release, SIGNATORY, DIGEST, form="raw"))
    codes = {
        # Whichever of the two devices has it now, the other one may not have seen it: asked until both have.
        "replay": [refused_or_signed(twin, release) for _ in range(4)][-1],
        "other-release": refused(twin, own.release(SIGNATORY, DIGEST, "sha256", "raw"), hashlib.sha256(b"x").digest()),
        "expired": refused(twin, own.release(SIGNATORY, DIGEST, "sha256", "raw", seconds=-30)),
        "other-signatory": refused(twin, own.release("nguoi-ky-02", DIGEST, "sha256", "raw"), key="nguoi-ky-02"),
    }
    assert codes == {code: code for code in codes}
    for name, log in hosts.say("cat /var/lib/qhs-signer/log.jsonl", DEVICES["qhdc"]).items():
        lines = log.splitlines()
        assert broken(lines) is None, name
        assert broken([*lines[:-2], lines[-1]]) == len(lines) - 1
    whole = "".join(hosts.say("cat /var/lib/qhs-signer/log.jsonl", DEVICES["qhdc"]).values())
    assert all(f'"why": "{code}"' in whole for code in codes)


def refused_or_signed(twin: Twin, release: str) -> str:
    try:
        asked(twin, "qhdc", lambda one: one.sign_released(release, SIGNATORY, DIGEST, form="raw"))
    except SigningError as error:
        return error.code
    return "signed"


@pytest.mark.parametrize("what", ["credential", "certificate"])
def test_who_was_revoked_signs_nothing_at_either_centre_until_there_is_another_certificate(
    twin: Twin, qhs: Run, what: str
) -> None:
    """T-E12: `qhs pki revoke-signing` tells the signers of both."""
    key, place = "nguoi-ky-02", trust_access.certificates(twin) / "nguoi-ky-02.pem"
    stolen = credential(twin, key)
    revoked = file_of(twin, key) if what == "credential" else place
    assert qhs("pki", "revoke-signing", str(revoked)).returncode == 0
    try:
        for site in SITES:
            await_(lambda at=site: said(twin, at, key, stolen) == f"{what}-revoked", 30)
            assert said(twin, site, SIGNATORY, credential(twin)) == "signed"
    finally:
        if what == "certificate":
            renew(twin, qhs, key, place)
    for site in SITES:
        await_(lambda at=site: said(twin, at, key, credential(twin, key)) == "signed", 90)


def said(twin: Twin, site: str, key: str, by: Credential) -> str:
    """What becomes of a signature at a site: the service's word for why not, else `signed`."""
    try:
        asked(twin, site, lambda one: one.sign(by, key, DIGEST, form="cades"))
    except SigningError as error:
        return error.code
    except requests.RequestException as error:
        return str(error)
    return "signed"


def renew(twin: Twin, qhs: Run, key: str, place: Path) -> None:
    """Have another certificate for a key, as when the authority has answered its request anew."""
    kept = of_store(twin, "qhdc", lambda one: one.secret(f"signing/ky-so/{key}") or {})
    whole.write(place, stand_in.issue(pki.folder(twin), kept["request"], "duty"))
    for site in SITES:
        up = qhs("shell", "--", "pulumi", "up", "--yes", "-s", f"twin.{site}.signing", "--non-interactive")
        assert up.returncode == 0, up.stdout[-3000:]


def test_bad_input_is_refused_with_the_reason(twin: Twin) -> None:
    own = credential(twin)

    def code(**change: str) -> str:
        given = {"key": SIGNATORY, "algorithm": "sha256", "digest": DIGEST.hex(), "form": "raw", **change}
        release = own.release(SIGNATORY, DIGEST, "sha256", "raw")

        def post(service: SigningService) -> str:
            answer = service._session.post(f"{service._at}/v1/sign", json={**given, "release": release}, timeout=10)
            assert answer.status_code in (400, 403)
            return str(answer.json()["error"]["code"])

        return asked(twin, "qhdc", post)

    assert code(algorithm="sha1", digest="00" * 20) == "algorithm"
    assert code(digest="00" * 20) == "digest"
    assert code(form="pkcs1") == "form"
    assert code(extra="x") == "input"


def test_who_has_no_certificate_of_the_estate_is_not_heard(twin: Twin) -> None:
    def ask(service: SigningService) -> None:
        service._session.cert = None
        service._session.get(f"{service._at}/v1/health", timeout=10)

    with pytest.raises(requests.RequestException):
        asked(twin, "qhdc", ask)


@contextmanager
def load(twin: Twin, site: str, clients: int = CLIENTS) -> Iterator[tuple[list[float], list[str]]]:
    """Clients that sign until the block ends: when each signature came, and what else did."""
    done: list[float] = []
    faults: list[str] = []
    over = threading.Event()

    def client() -> None:
        def work(service: SigningService) -> None:
            own = credential(twin)
            while not over.is_set():
                try:
                    service.sign(own, SIGNATORY, DIGEST, form="raw")
                    done.append(time.monotonic())
                except (SigningError, requests.RequestException) as error:
                    faults.append(str(error))

        asked(twin, site, work)

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(client) for _ in range(clients)]
        try:
            yield done, faults
        finally:
            over.set()
        for one in running:
            one.result()


def after(done: list[float], count: int = 50) -> None:
    """Wait for so many signatures more."""
    wanted = len(done) + count
    await_(lambda: len(done) >= wanted, 30)


SOFTHSM = "sudo -u qhs-hsm env SOFTHSM2_CONF=/etc/qhs/hsm/softhsm2.conf softhsm2-util"
METRIC = "/var/lib/prometheus/node-exporter/qhs_signer.prom"
PAUSE = 5
"""Seconds without a signature when a host dies: adverts of a second that do not come, and a SYN that is sent anew."""
GONE, BACK = "mv {0} {0}.gone", "mv {0}.gone {0}"


@pytest.mark.parametrize("lost", [0, 1], ids=["first", "second"])
def test_one_device_of_two_that_dies_under_load_costs_no_request(twin: Twin, hosts: Hosts, lost: int) -> None:
    tokens = ESTATE.inventory.hsm.soft_tokens
    device = DEVICES["qhdc"][lost]
    with load(twin, "qhdc") as (done, faults):
        after(done)
        hosts.say(GONE.format(tokens), [device])
        try:
            after(done, 200)
        finally:
            hosts.say(BACK.format(tokens), [device])
        after(done, 200)
        hosts.say("systemctl kill --signal=KILL qhs-signer.service", [device])
        after(done, 200)
    assert faults == []


def moving(host: str) -> set[str]:
    """The addresses that a host shares with the other of its site."""
    return {text for one in ESTATE.machines[host].moving for text in one.targets[0].texts()}


def holding(hosts: Hosts, host: str) -> set[str]:
    """Those of them that it has."""
    found = json.loads(hosts.say("ip -json address", [host])[host])
    return moving(host) & {one["local"] for port in found for one in port["addr_info"]}


def holds_all(hosts: Hosts, host: str) -> bool:
    return holding(hosts, host) == moving(host)


def test_a_host_that_is_cut_off_leaves_its_addresses_to_the_other(twin: Twin, hosts: Hosts) -> None:
    """What it had not answered yet is lost with it, which whoever asked hears; nothing else is."""
    first, second = DEVICES["qhdc"]
    pace = Pace()
    with load(twin, "qhdc") as (done, faults):
        after(done)
        outage.cut(twin, f"{first}:signing")
        after(done, 200)
        lost, longest = len(faults), max(later - one for one, later in pairwise(sorted(done)))
        assert holds_all(hosts, second)
        outage.heal(twin, f"{first}:signing")
        await_(lambda: holds_all(hosts, first))
        after(done, 200)
    MEASURED.append(f"{first} cut off under {CLIENTS} clients: {lost} requests lost, pause {longest:.2f} s")
    assert lost <= CLIENTS
    assert len(faults) <= 2 * CLIENTS, "and those that were on their way when it came back"
    assert longest <= pace.limit(PAUSE)


def test_what_stands_before_the_signers_ends_and_its_addresses_are_with_the_other(twin: Twin, hosts: Hosts) -> None:
    first, second = DEVICES["ndc"]
    hosts.say("systemctl stop qhs-signer-front.service qhs-signer-front.socket", [first])
    try:
        await_(lambda: holds_all(hosts, second))
        assert healthy(twin, "ndc")
    finally:
        hosts.say("systemctl start qhs-signer-front.socket qhs-signer-front.service", [first])
    await_(lambda: holds_all(hosts, first))
    assert holding(hosts, second) == set()


def test_a_pin_changes_under_load_and_costs_no_request(twin: Twin, qhs: Run, hosts: Hosts) -> None:
    """T-E03: sessions that are open go on, and who logs in later learns the new one."""
    before = pins(twin)
    with load(twin, "qhdc") as (done, faults):
        after(done)
        assert qhs("hsm", "rotate", "ky-so").returncode == 0
        after(done, 200)
        for device in DEVICES["qhdc"]:
            hosts.say("systemctl restart qhs-signer.service", [device])
            await_(lambda at=device: signs(twin, at), 30)
        after(done, 200)
    assert faults == []
    changed = {at for at, own in pins(twin).items() if own["pin"] != before[at]["pin"]}
    assert changed == {pins_at(device, "ky-so") for device in SITE_OF}


def signs(twin: Twin, device: str, key: str = SIGNATORY) -> bool:
    """Whether the signer on one host does, asked from the other host of its site."""
    other = next(one for one in DEVICES[SITE_OF[device]] if one != device)
    namespace = Path(f"/proc/{boot.group(twin, other).init()}/ns/net")
    address = ESTATE.machines[device].interfaces[0].address.texts()[0]
    service = SigningService(f"{address}:5657", device, pki.folder(twin) / "root.crt", file_of(twin))
    try:
        inside.call(namespace, lambda: service.sign(credential(twin, key), key, DIGEST, form="raw"))
    except (SigningError, requests.RequestException):
        return False
    return True


def test_a_token_that_is_wiped_and_made_anew_signs_without_a_restart(twin: Twin, qhs: Run, hosts: Hosts) -> None:
    """T-E01: its slot is another one by then."""
    device = DEVICES["qhdc"][0]
    started = hosts.say("systemctl show --property=MainPID qhs-signer.service", [device])
    slots = hosts.say(f"{SOFTHSM} --show-slots | grep -B20 'Label: *ky-so' | grep ^Slot | tail -1", [device])
    hosts.say(f"{SOFTHSM} --delete-token --token ky-so", [device])
    await_(lambda: not signs(twin, device), 30)
    assert healthy(twin, "qhdc")
    up = qhs("shell", "--", "pulumi", "up", "--refresh", "--yes", "-s", "twin.qhdc.signing", "--non-interactive")
    assert up.returncode == 0, up.stdout[-3000:]
    assert slots != hosts.say(f"{SOFTHSM} --show-slots | grep -B20 'Label: *ky-so' | grep ^Slot | tail -1", [device])
    await_(lambda: signs(twin, device), 30)
    assert started == hosts.say("systemctl show --property=MainPID qhs-signer.service", [device])


def test_a_key_that_one_device_lost_costs_its_own_signatures_there_alone(twin: Twin, qhs: Run) -> None:
    """T-E16: a destroyed key signs no more, there; T-E08: the other devices give it back, and it is the same."""
    device, key = DEVICES["ndc"][1], "nguoi-ky-03"
    of_token(twin, device, "ky-so", lambda one: one.ask("remove-key", label=key))
    await_(lambda: not signs(twin, device, key), 30)
    assert signs(twin, device)
    before = asked(twin, "ndc", lambda one: one.sign(credential(twin, key), key, DIGEST, form="raw"))
    up = qhs("shell", "--", "pulumi", "up", "--refresh", "--yes", "-s", "twin.ndc.signing", "--non-interactive")
    assert up.returncode == 0, up.stdout[-3000:]
    await_(lambda: signs(twin, device, key), 30)
    assert before == asked(twin, "qhdc", lambda one: one.sign(credential(twin, key), key, DIGEST, form="raw"))


def test_without_any_device_it_says_so_queues_nothing_and_comes_back_by_itself(twin: Twin, hosts: Hosts) -> None:
    tokens = ESTATE.inventory.hsm.soft_tokens
    hosts.say(GONE.format(tokens), DEVICES["ndc"])
    try:
        await_(lambda: not healthy(twin, "ndc"), 30)
        began = time.monotonic()
        with pytest.raises(SigningError) as error:
            asked(twin, "ndc", lambda one: signed(twin, one, "raw"))
        assert time.monotonic() - began < 15
        assert error.value.code in ("503", "device", "no-token")
        before = {name: log.count("signed") for name, log in logs(hosts).items()}
        # T-E07: who asks again and again is told so, and nobody else is.
        device = DEVICES["ndc"][0]
        told = logs(hosts)[device].count("-away")
        assert not any(signs(twin, device) for _ in range(50))
        assert logs(hosts)[device].count("-away") - told <= 1
        assert "qhs_signer_device_up 0" in hosts.say(f"cat {METRIC}", [device])[device]
    finally:
        hosts.say(BACK.format(tokens), DEVICES["ndc"])
    await_(lambda: healthy(twin, "ndc"), 30)
    await_(lambda: "qhs_signer_device_up 1" in hosts.say(f"cat {METRIC}", [device])[device], 30)
    since = {name: log.count("signed") - before[name] for name, log in logs(hosts).items()}
    assert sum(since.values()) == 1, "what was refused is not signed later"


def logs(hosts: Hosts) -> dict[str, str]:
    said = hosts.say("cat /var/lib/qhs-signer/log.jsonl", DEVICES["ndc"])
    return {name: "".join(json.loads(line).get("did", "") for line in log.splitlines()) for name, log in said.items()}
