"""A secret store a centre: three nodes, opened by the centre's HSMs, begun without a root token (C-DR-09, T-A09)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import hvac
import pytest

from qhs import pki
from qhs.pki.credentials import PROVISIONER, PROVISIONERS
from qhs.secret_stores import snapshots
from qhs.twin import boot, inside
from qhs.twin.names import Twin
from stacks.model import load
from stacks.model.estate import HSM, SECRETS
from stacks.provider.secret.client import StoreError
from tests.twin.conftest import Run, WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.trust import of_store
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

ESTATE = load("twin")
NODES = {
    site: [one for one in ESTATE.machines.values() if one.site == site and SECRETS in one.roles]
    for site in ("qhdc", "ndc")
}
OPENERS = [one.name for one in NODES["qhdc"] if HSM in one.roles]
CHECK = "/usr/local/lib/qhs-openbao/qhs_openbao.py check"
LEADS = 20
"""Seconds until another node leads: Raft waits for ten at most before it elects."""
SEARCH = """
import sys
sys.path.insert(0, "/usr/local/lib/qhs-openbao")
from pathlib import Path
from qhs_openbao import given
key = given()
files = [path for place in ("/var/lib", "/etc", "/run/qhs-openbao") for path in Path(place).rglob("*")]
print(len(key), [str(path) for path in files if path.is_file() and not path.is_symlink() and key in path.read_bytes()])
"""


def asked[T](twin: Twin, machine: str, question: Callable[[hvac.Client], T], *, machines: Path | None = None) -> T:
    """Of the node on a machine, from the management segment of its site; as a provisioner, or by a machine's files."""
    own, where = pki.folder(twin), ESTATE.machines[machine]
    shown = (
        [machines / "machine.crt", machines / "machine.key"]
        if machines
        else [PROVISIONERS.current(own, PROVISIONER)] * 2
    )

    def ask() -> T:
        client = hvac.Client(
            f"https://{where.interfaces[0].address.texts()[0]}:8200",
            cert=tuple(map(str, shown)),
            verify=str(own / "root.crt"),
            timeout=10,
        )
        client.auth.cert.login()
        return question(client)

    namespace = Path(f"/proc/{boot.group(twin, f'{where.site}-bastion1').init()}/ns/net")
    return inside.call(namespace, ask)


@pytest.fixture(autouse=True)
def standing(hosts: Hosts, second_up: WatchedUp) -> Iterator[None]:
    """Every node serves, before and after."""
    names = [one.name for nodes in NODES.values() for one in nodes]
    hosts.say(CHECK, names)
    yield
    await_(lambda: set(hosts.say(f"{CHECK} || true", names).values()) == {""})


def members(twin: Twin, machine: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = asked(twin, machine, lambda one: one.sys.read_raft_config())["data"]["config"][
        "servers"
    ]
    return found


def test_each_centre_has_a_store_of_its_own_with_three_votes(twin: Twin) -> None:
    for nodes in NODES.values():
        for node in nodes:
            told = members(twin, node.name)
            assert {one["node_id"] for one in told} == {one.name for one in nodes}
            assert sum(one["leader"] for one in told) == 1
        await_(lambda name=nodes[0].name: all(one["voter"] for one in members(twin, name)))


def test_no_disk_of_a_node_has_the_seal_key(hosts: Hosts) -> None:
    said = hosts.say(f"python3 -c '{SEARCH}'", [one.name for nodes in NODES.values() for one in nodes])
    assert {one.strip() for one in said.values()} == {"32 []"}


def test_who_sets_it_up_can_declare_what_is_in_it_and_not_more(twin: Twin) -> None:
    node = NODES["qhdc"][0].name
    assert "cert/" in asked(twin, node, lambda one: one.sys.list_auth_methods())["data"]
    for path in ("sys/seal", "sys/step-down", "sys/rotate/root"):
        with pytest.raises(hvac.exceptions.Forbidden):
            asked(twin, node, lambda one, at=path: one.write_data(at, data={}))


def test_a_machine_sets_nothing_up(twin: Twin) -> None:
    with pytest.raises(hvac.exceptions.VaultError):
        asked(
            twin,
            NODES["qhdc"][0].name,
            lambda one: one.sys.list_auth_methods(),
            machines=twin.machine("qhdc-app1").upper / "etc/qhs/tls",
        )


def test_another_node_leads_when_the_leader_dies(twin: Twin, hosts: Hosts) -> None:
    node, policy = NODES["qhdc"][0].name, f"sys/policies/acl/kept-{uuid4().hex}"
    asked(twin, node, lambda one: one.write_data(policy, data={"policy": 'path "nothing" { capabilities = ["deny"] }'}))
    leader = next(one["node_id"] for one in members(twin, node) if one["leader"])
    other = next(one.name for one in NODES["qhdc"] if one.name != leader)
    hosts.say("systemctl kill --signal=KILL qhs-openbao.service", [leader])

    def served() -> bool:
        with suppress(hvac.exceptions.VaultError, OSError):
            return bool(asked(twin, other, lambda one: one.read(policy)))
        return False

    await_(served, LEADS)
    asked(twin, other, lambda one: one.delete(policy))


def test_one_hsm_is_enough_to_start_and_none_is_told(hosts: Hosts) -> None:
    """T-E15: by the node itself and by its metrics, of which the alert is; an HSM that is back is all that it needs."""
    node = next(one.name for one in NODES["qhdc"] if HSM not in one.roles)
    start = hosts.say("date +%s", [node])[node].strip()
    hosts.say("systemctl stop qhs-unseal.socket", OPENERS[:1])
    hosts.say(f"systemctl restart qhs-openbao.service && {CHECK}", [node])
    hosts.say("systemctl stop qhs-unseal.socket", OPENERS)
    try:
        hosts.say("systemctl restart qhs-openbao.service || true", [node])
        said = hosts.say(f"journalctl --unit=qhs-openbao --since=@{start} --output=cat", [node])[node]
        await_(lambda: reported(hosts, node) == "qhs_secret_store_serves 0")
    finally:
        hosts.say("systemctl start qhs-unseal.socket", OPENERS)
    await_(lambda: reported(hosts, node) == "qhs_secret_store_serves 1", 90)
    assert f"no HSM of the site gives the seal key out: {OPENERS[0]}: " in said
    assert f"; {OPENERS[1]}: " in said


def test_a_store_that_lost_every_disk_is_restored_and_opened_by_the_hsm(twin: Twin, qhs: Run, hosts: Hosts) -> None:
    """T-B14: nobody types a key; what another seal closed is refused before it is restored, and so is any, into use."""
    site, secret = "ndc", "hsm/ndc-hsm1/qlvb"
    nodes = [one.name for one in NODES[site]]
    before = of_store(twin, site, lambda one: one.secret(secret))
    assert qhs("secrets", "snapshot").returncode == 0
    foreign = of_store(twin, "qhdc", lambda one: one.snapshot())
    in_use = qhs("secrets", "restore", site)
    assert (in_use.returncode, "found a secret store in use" in in_use.stderr) == (1, True), in_use.stderr
    hosts.say("systemctl stop qhs-openbao.service && find /var/lib/qhs-openbao -mindepth 1 -delete", nodes)
    anew = qhs("shell", "--", "ansible-playbook", "scripts/playbooks/trust.yml", "--limit", ",".join(nodes))
    assert anew.returncode == 0, anew.stdout[-3000:]
    assert snapshots.lost(ESTATE, twin) == [site]
    with pytest.raises(StoreError, match="autoseal key"):
        of_store(twin, site, lambda one: one.restore(foreign))
    assert of_store(twin, site, lambda one: one.names("sys/policies/acl")) == ["default", "provisioner", "root"]
    restored = qhs("secrets", "restore", site)
    assert restored.returncode == 0, restored.stderr
    assert of_store(twin, site, lambda one: one.secret(secret)) == before
    await_(lambda: all(one["voter"] for one in members(twin, nodes[0])))
    leader = next(one["node_id"] for one in members(twin, nodes[0]) if one["leader"])
    hosts.say("systemctl kill --signal=KILL qhs-openbao.service", [leader])
    assert of_store(twin, site, lambda one: one.secret(secret)) == before, "the others have the keys of before"


def reported(hosts: Hosts, node: str) -> str:
    return hosts.say("cat /var/lib/prometheus/node-exporter/qhs_openbao.prom", [node])[node]
