"""The states of the stacks lie at the sites, and none is lost with one (T-B13; C-BAK-03, C-DR-09)."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from botocore.exceptions import ClientError

from qhs.engine import locks, prepare, run_pulumi
from qhs.state import homes, moves
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.layers import stack_names
from stacks.model import load
from stacks.model.objects import COPIES, IDENTITIES, STATE_USER, STATES, object_stores
from stacks.provider.storage.stores import objects
from tests.twin.conftest import Run, WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.objects import key_of, s3
from tests.twin.trust import of_store, settings
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

ESTATE = load("twin")
STORES = object_stores(ESTATE)
STACKS = [str(one) for one in stack_names(ESTATE)]
OWN = {stack: homes.own(ESTATE, stack) for stack in STACKS}
BEHIND = {"8080", "8333", "8888", "9333", "18080", "18333", "18888", "19333"}
SECRET, SECRET_IS = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"
"""How the engine marks a secret."""
LOOKS = 30
"""Seconds until a store knows who may come in, once its machine has looked: it starts anew."""
BACK = 180
"""Seconds until a site that was off serves again, its secret store and its object store last."""


@pytest.fixture(autouse=True, scope="module")
def standing(qhs: Run, second_up: WatchedUp) -> None:
    """It is up, and what other tests changed by a plain pulumi is copied too."""
    done = qhs("state", "copy")
    assert done.returncode == 0, done.stderr


def told(qhs: Run, code: int) -> dict[str, dict[str, Any]]:
    """By stack what `qhs state status` says."""
    done = qhs("state", "status", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return {one["stack"]: one for one in json.loads(done.stdout)["states"]}


def test_every_state_is_at_its_own_site_and_copied_to_the_other(twin: Twin, qhs: Run) -> None:
    states = told(qhs, 0)
    assert {stack: one["site"] for stack, one in states.items()} == {
        stack: homes.own(ESTATE, stack) for stack in STACKS
    }
    assert all([copy["found"] for copy in one["copies"]] == ["same"] for one in states.values())
    left = prepare(twin.state).folder / ".pulumi" / "stacks" / "qhs"
    assert [path.name for path in left.glob("*.json")] == []


def test_a_secret_of_a_state_is_encrypted_by_the_key_of_the_site_that_has_it(twin: Twin, qhs: Run) -> None:
    """C-BAK-03: neither a state nor its copy is of use to whoever has the objects alone."""
    stack, hidden = "twin.hall.network", "a-secret-of-a-state"
    engine = homes.engine(twin, print)
    copy = homes.at(engine, twin, {stack: "ndc"}, COPIES)
    state = json.loads(moves.exported(engine, stack))
    state["deployment"]["resources"][-1]["outputs"]["hidden"] = {SECRET: SECRET_IS, "plaintext": json.dumps(hidden)}
    given = moves.encrypted_by(json.dumps(state), copy.settings(stack))
    run_pulumi(copy, ["stack", "import"], stack=stack, cwd=copy.settings(stack).parent, given=given)
    assert hidden in moves.exported(copy, stack)
    found = inside.call(twin.netns_path(), lambda: kept(twin, "ndc", COPIES, stack))
    own = inside.call(twin.netns_path(), lambda: kept(twin, "qhdc", STATES, stack))
    assert hidden not in json.dumps(found)
    assert found["secrets_providers"]["type"] == own["secrets_providers"]["type"] == "cloud"
    assert found["secrets_providers"]["state"]["encryptedkey"] != own["secrets_providers"]["state"]["encryptedkey"]
    assert told(qhs, 2)[stack]["copies"][0]["found"] == "older"
    assert qhs("state", "copy").returncode == 0


def kept(twin: Twin, site: str, bucket: str, stack: str) -> dict[str, Any]:
    """The state as it lies there."""
    name = f".pulumi/stacks/qhs/{stack}.json"
    found: dict[str, Any] = json.loads(objects(settings(twin), site).read(bucket, name))
    return dict(found["checkpoint"]["latest"])


def test_nobody_comes_in_without_a_key_or_with_a_wrong_one(twin: Twin) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        s3(twin, "qhdc", lambda one: one.list_buckets())
    for who, why in ((STATE_USER, "SignatureDoesNotMatch"), ("nobody", "InvalidAccessKeyId")):
        with pytest.raises(ClientError, match=why):
            s3(twin, "qhdc", lambda one: one.list_buckets(), who, "a-wrong-key")


def test_whoever_keeps_states_makes_no_bucket_and_takes_none_away(twin: Twin) -> None:
    key = key_of(twin, "qhdc", STATE_USER)
    for ask in (lambda one: one.create_bucket(Bucket="another"), lambda one: one.delete_bucket(Bucket=STATES)):
        with pytest.raises(ClientError, match="AccessDenied"):
            s3(twin, "qhdc", ask, STATE_USER, key)


def test_a_key_that_is_taken_away_lets_nobody_in_any_more(twin: Twin, hosts: Hosts) -> None:
    """The store itself forgets no key before it starts anew. Its machine looks every minute; here at once."""
    look = "systemctl start qhs-objects-keys.service"
    guest = {"key": "k" * 40, "rights": ["Admin"], "writer": ""}
    of_store(twin, "ndc", lambda found: found.keep(f"{IDENTITIES}/guest", guest))

    def refused() -> str:
        try:
            s3(twin, "ndc", lambda one: one.list_buckets(), "guest", guest["key"])
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return ""

    try:
        hosts.say(look, [STORES["ndc"].machine])
        await_(lambda: refused() == "", LOOKS)
    finally:
        of_store(twin, "ndc", lambda found: found.forget(f"{IDENTITIES}/guest"))
    hosts.say(look, [STORES["ndc"].machine])
    await_(lambda: refused() == "InvalidAccessKeyId", LOOKS)


def test_no_other_port_of_the_store_is_there(hosts: Hosts) -> None:
    """Behind the others every lock is open: they are in a network of the store's own."""
    machines = [one.machine for one in STORES.values()]
    seen = hosts.say("ss -Hltn | awk '{print $4}' | sed 's/.*://' | sort -un | tr '\\n' ' '", machines)
    assert all({"443"} <= set(ports.split()) for ports in seen.values())
    assert not {port for ports in seen.values() for port in ports.split()} & {
        "8333",
        "8888",
        "9333",
        "8080",
        "18888",
        "19333",
    }
    held = hosts.say("find /run/qhs-objects -type s -printf '%m %u:%g\\n'", machines)
    assert set(held.values()) == {"770 qhs-objects:qhs-objects"}
    refused = hosts.say("curl -sS --max-time 2 http://127.0.0.1:8888/ 2>&1 || true", machines)
    assert all("refused" in one or "not found" in one for one in refused.values()), refused


def test_a_lock_of_an_engine_that_was_killed_is_taken_away(twin: Twin, qhs: Run) -> None:
    nobody = {"pid": 2**22 + 1, "username": "x", "hostname": socket.gethostname(), "timestamp": "2026-01-01T00:00:00Z"}
    lock = {"Key": f"{locks('twin.ndc.network')}/dead.json", "Body": json.dumps(nobody).encode()}
    key = key_of(twin, "ndc", STATE_USER)
    s3(twin, "ndc", lambda one: one.put_object(Bucket=STATES, **lock), STATE_USER, key)
    done = qhs("shell", "--", "pulumi", "preview", "-s", "twin.ndc.network", "--expect-no-changes", "--non-interactive")
    assert done.returncode == 0, done.stderr
    assert "taking over from pid" in done.stderr


def test_with_qhdc_gone_every_stack_of_ndc_is_applied_and_the_others_go_on_there(twin: Twin, qhs: Run) -> None:
    """T-B13: from the state and the key that ndc has itself."""

    def applied(stack: str) -> None:
        done = qhs("shell", "--", "pulumi", "up", "-s", stack, "--refresh", "--yes", "--non-interactive")
        assert done.returncode == 0, done.stdout + done.stderr

    assert qhs("twin", "power-off", "qhdc").returncode == 0
    try:
        for stack in ("twin.ndc.network", "twin.ndc.signing"):
            applied(stack)
        states = told(qhs, 3)
        assert {stack for stack, one in states.items() if one["missing"]} == {s for s in STACKS if OWN[s] == "qhdc"}
        done = qhs("state", "adopt", "--at", "ndc")
        assert done.returncode == 0, done.stderr
        assert set(homes.read(twin).values()) == {"ndc"}
        applied("twin.hall.network")
    finally:
        assert qhs("twin", "power-on", "qhdc").returncode == 0
        await_(lambda: qhs("state", "adopt").returncode == 0, BACK)
    assert homes.read(twin) == OWN
    assert qhs("state", "copy").returncode == 0
    told(qhs, 0)
