"""Machines hold certificates of their site and renew them; what has run out or was revoked opens nothing."""

from __future__ import annotations

import json
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qhs import pki
from qhs.inventory import inventory
from qhs.pki import users
from qhs.twin import access, inside
from qhs.twin.names import Twin
from qhs.twin.sshkey import make
from stacks.model import load
from stacks.model.signing import stores
from tests.twin.conftest import Run, WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

VARIABLES = inventory(load("twin"))["_meta"]["hostvars"]
MACHINE, OTHER, FAR = "qhdc-app2", "qhdc-app1", "hall-fw1"
SITES = ("qhdc", "ndc", "hall")
CRT = "/etc/qhs/tls/machine.crt"
VERIFY = f"openssl verify -x509_strict -CAfile /etc/qhs/tls/ca.crt -untrusted {CRT} {CRT}"
SERIAL = f"openssl x509 -in {CRT} -noout -serial"
# Loads the machine's own program, to ask with it what it would not ask.
PROGRAM = "from importlib.machinery import SourceFileLoader as L; p = L('p', '/usr/local/sbin/qhs-pki').load_module()"


def python(code: str) -> str:
    return f"python3 -W ignore -B -c {shlex.quote(code)}"


def ssh(twin: Twin, machine: str, *options: str) -> list[str]:
    return ["ssh", "-F", str(access.config(twin)), "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", *options, machine]


def journal(hosts: Hosts, since: str = "today") -> str:
    """What the authority of qhdc has written down."""
    command = f"journalctl --no-pager --output=cat --identifier=qhs-pki-authority --since='{since}'"
    return hosts.say(command, ["qhdc-infra1"])["qhdc-infra1"]


def test_every_machine_has_a_certificate_of_its_own_site_for_its_own_names(hosts: Hosts) -> None:
    """OpenSSL verifies it up to the root; nobody but root and the group reads the key."""
    shown = f"openssl x509 -in {CRT} -noout -issuer; stat -c %a:%U:%G /etc/qhs/tls/machine.key"
    for name, said in hosts.say(f"{VERIFY}; {shown}").items():
        site = VARIABLES[name]["qhs_site"]
        wanted = [f"{CRT}: OK", f"issuer=CN=QHS machines of {site}", "640:root:qhs-tls"]
        assert said.splitlines() == wanted, name
    wrong = (
        "import json, sys; "
        + PROGRAM
        + "\nprint(p.wrong(json.loads(sys.argv[1])[p.os.uname().nodename], p.datetime.now(p.UTC)))"
    )
    names = json.dumps({name: one["pki_names"] for name, one in VARIABLES.items()})
    found = hosts.say(f"{python(wrong)} {shlex.quote(names)}")
    assert {name: reason for name, reason in found.items() if reason.strip()} == {}


def test_a_renewal_is_a_new_serial_and_no_session_ends(hosts: Hosts, twin: Twin) -> None:
    """At the authority of its own site, by itself, and in the journal of that one."""
    names = [OTHER, FAR, "ndc-edge1", "qhdc-infra1"]
    before = hosts.say(f"systemctl show --value -p MainPID ssh; {SERIAL}", names)
    with subprocess.Popen(
        inside.command(twin, [*ssh(twin, OTHER), "echo up; read -r word; echo $word"]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as session:  # fmt: skip
        assert session.stdout is not None
        assert session.stdout.readline() == "up\n"
        hosts.say("qhs-pki renew --now", names)
        assert session.communicate("still here\n", timeout=20)[0] == "still here\n"
    after = hosts.say(f"systemctl show --value -p MainPID ssh; {SERIAL}; {VERIFY} >&2", names)
    for name in names:
        (sshd, serial), (sshd_then, serial_then) = after[name].split(), before[name].split()
        assert sshd == sshd_then, name
        assert serial != serial_then, name
    issued = f"issued kind=x509 serial={after[OTHER].split()[1].removeprefix('serial=').lower().lstrip('0')}"
    assert issued in journal(hosts)
    host = inside.run(twin, [*ssh(twin, OTHER, "-v"), "true"]).stderr
    key = hosts.say("ssh-keygen -L -f /etc/ssh/ssh_host_ed25519_key-cert.pub", [OTHER])[OTHER]
    assert f"serial {key.partition('Serial: ')[2].split()[0]}" in host, "sshd shows the new host certificate"


ISSUER = f"tail -n +2 {CRT} | sed -n '/BEGIN/,$p'"
"""The second certificate of the file: what has signed the first."""
BOOTSTRAP = "cat /var/lib/qhs-pki/authority.crt"


def test_the_store_of_a_centre_signs_what_its_machines_renew_and_the_house_has_none(hosts: Hosts) -> None:
    """Both authorities have one name and one root, so that nobody who trusts either sees the other come."""
    hosts.say("qhs-pki renew --now", [OTHER, "ndc-app1", FAR])
    issuers = hosts.say(f"{VERIFY} >&2; {ISSUER}", [OTHER, "ndc-app1", FAR])
    first = {one.partition("-")[0]: pem for one, pem in hosts.say(BOOTSTRAP, [f"{s}-infra1" for s in SITES]).items()}
    by_store = {name: pem.strip() != first[name.partition("-")[0]].strip() for name, pem in issuers.items()}
    assert by_store == {OTHER: True, "ndc-app1": True, FAR: False}


def test_while_its_store_is_down_nothing_is_renewed_and_nothing_lost(hosts: Hosts) -> None:
    """Nor does the authority of the beginning sign again."""
    nodes = list(stores(load("twin"))["ndc"])
    hosts.say("qhs-pki renew --now", ["ndc-app1"])
    before = hosts.say(SERIAL, ["ndc-app1"])
    hosts.say("systemctl stop qhs-openbao.service", nodes)
    try:
        said = hosts.say("qhs-pki renew --now 2>&1 || true", ["ndc-app1"])["ndc-app1"]
    finally:
        hosts.say("systemctl start qhs-openbao.service", nodes)
    assert "the secret store does not tell" in said, said
    assert "wanted its signature, as it has signed before" in said
    assert hosts.say(SERIAL, ["ndc-app1"]) == before
    await_(lambda: "renewed" in hosts.say("qhs-pki renew --now 2>&1 || true", ["ndc-app1"])["ndc-app1"])


def test_a_machine_gets_no_names_but_its_own_and_only_at_its_own_site(hosts: Hosts) -> None:
    asks = python(f"{PROGRAM}\np.ask(p.request([*p.names_of(p.chain()[0]), 'qhdc-infra1']))")
    said = hosts.say(f"{asks} 2>&1 || true", [OTHER])[OTHER]
    assert "refuses: found names" in said
    assert f"shown=CN={OTHER} reason=found names" in journal(hosts)
    there = f"import socket; socket.create_connection(('{VARIABLES[OTHER]['pki_address']}', 8443), 3)"
    assert "timed out" in hosts.say(f"{python(there)} 2>&1 || true", ["ndc-app1"])["ndc-app1"]


@pytest.fixture
def expired(hosts: Hosts) -> str:
    """A machine whose certificate ran out yesterday: signed by the real authority with a clock of eight days ago."""
    names = VARIABLES[MACHINE]["pki_names"]
    request = hosts.say(f"qhs-pki request {' '.join(names)}", [MACHINE])[MACHINE]
    sign = python(
        "import sys, json; sys.path.insert(0, '/usr/local/lib/qhs-pki'); import qhs_pki_authority as a;"
        "from datetime import UTC, datetime, timedelta;"
        "request, names = json.loads(sys.argv[1]), sys.argv[2:];"
        "print(json.dumps(a.load().issue(request, names, datetime.now(UTC) - timedelta(days=8))))"
    )
    answer = hosts.say(f"{sign} {shlex.quote(request)} {' '.join(names)}", ["qhdc-infra1"])["qhdc-infra1"]
    hosts.say(f"printf %s {shlex.quote(answer)} | qhs-pki install", [MACHINE])
    return MACHINE


def test_an_expired_certificate_is_refused_and_the_next_run_heals_it(hosts: Hosts, qhs: Run, expired: str) -> None:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    said = hosts.say("qhs-pki renew 2>&1 || true", [expired])[expired]
    assert "expired" in said
    assert "`qhs up`" in said
    (refused,) = [line for line in journal(hosts, since).splitlines() if line.startswith("refused")]
    assert "certificate_has_expired" in refused
    done = qhs("shell", "--", "ansible-playbook", "scripts/playbooks/certificates.yml", "--limit", expired)
    assert done.returncode == 0, done.stdout
    assert hosts.say(VERIFY, [expired])[expired].endswith("OK")
    assert "renewed: serial" in hosts.say("qhs-pki renew --now", [expired])[expired]


@pytest.fixture
def guest(twin: Twin, tmp_path: Path) -> Path:
    """The key of somebody who has a user certificate of the estate for some hours."""
    key = make(tmp_path / "id_guest")
    users.current(pki.ensure(twin), key, "qhs")
    return key


def enters(twin: Twin, machine: str, key: Path, certificate: Path | None) -> bool:
    """With this key and this certificate alone."""
    config = access.config(twin).read_text()
    own = key.with_name(f"{key.name}.config")
    own.write_text(
        "\n".join(
            line for line in config.splitlines() if not line.strip().startswith(("IdentityFile", "CertificateFile"))
        )
    )
    shown = ["-o", f"CertificateFile={certificate}"] if certificate else []
    command = ["ssh", "-F", str(own), "-o", "BatchMode=yes", "-i", str(key), *shown, machine, "true"]
    return inside.run(twin, command).returncode == 0


def test_a_revoked_certificate_is_refused_everywhere_and_the_operator_still_enters(
    hosts: Hosts, twin: Twin, qhs: Run, guest: Path, second_up: WatchedUp
) -> None:
    asked = (OTHER, FAR, "ndc-infra1")
    certificate = guest.with_name(f"{guest.name}-cert.pub")
    assert all(enters(twin, machine, guest, certificate) for machine in asked)
    done = qhs("pki", "revoke", str(certificate))
    assert done.returncode == 0, done.stderr
    assert [machine for machine in hosts.names if enters(twin, machine, guest, certificate)] == []
    assert "revoked" in hosts.say("journalctl --no-pager --unit=ssh --lines=20", [OTHER])[OTHER]
    own = access.config(twin).with_name("id_ed25519-cert.pub")
    before = users.serial_of(own)
    assert qhs("pki", "revoke", "--serial", str(before)).returncode == 0
    assert hosts.say("true", asked)
    assert users.serial_of(own) != before


def test_the_key_that_a_machine_was_made_with_opens_nothing_any_more(hosts: Hosts, twin: Twin, tmp_path: Path) -> None:
    key = tmp_path / "id"
    key.touch(0o600)
    key.write_text(access.key(twin).read_text())
    try:
        assert [machine for machine in hosts.names if enters(twin, machine, key, None)] == []
    finally:
        key.unlink()


def test_the_lost_list_of_revoked_certificates_comes_back_with_sshd(hosts: Hosts) -> None:
    """Without it sshd takes nobody's key; one command, as there is no second way in meanwhile."""
    command = "cd /etc/ssh; rm qhs-revoked.krl; systemctl restart ssh; ssh-keygen -Q -l -f qhs-revoked.krl | head -1"
    assert "KRL" in hosts.say(command, [OTHER])[OTHER]
