"""What applications wrote to one centre's object store is at the other's too (S-002, S-040, S-041)."""

from __future__ import annotations

import json
import shlex
import time
from typing import Any

import pytest

from qhs.objects import alike
from qhs.twin.names import Twin
from stacks.model.object_sync import may_seconds
from stacks.model.objects import buckets, object_stores, users
from tests.twin.conftest import MEASURED, Run, WatchedUp
from tests.twin.hosts import Hosts
from tests.twin.objects import key_of, s3
from tests.twin.trust import ESTATE
from tests.twin.waiting import await_

pytestmark = pytest.mark.live

SITE, OTHER = "qhdc", "ndc"
WHO = next(one.name for one in users(ESTATE, OTHER) if one.name in {it.name for it in users(ESTATE, SITE)})
BUCKET = next(one.name for one in buckets(ESTATE) if one.tenant == WHO)
STORES = {site: one.machine for site, one in object_stores(ESTATE).items()}
ASKS = """
import http.client, ssl, sys
context = ssl.create_default_context(cafile="/etc/qhs/tls/ca.crt")
context.check_hostname = False
if sys.argv[4] == "shown":
    context.load_cert_chain("/etc/qhs/tls/machine.crt", "/etc/qhs/tls/machine.key")
connection = http.client.HTTPSConnection(sys.argv[1], 9000, timeout=10, context=context)
try:
    connection.request(sys.argv[2], sys.argv[3])
    print(connection.getresponse().status, end="")
except OSError:
    print("refused", end="")
"""
FOLLOWS = 60
"""Seconds from a `qhs up` or a crash until a site follows the other again."""


@pytest.fixture(scope="module", autouse=True)
def following(twin: Twin, second_up: WatchedUp) -> None:
    """The site without the lease is not far behind."""
    await_(lambda: behind(twin) < 15, FOLLOWS)


def behind(twin: Twin) -> float:
    found = {one.site: one for one in alike.lag(twin, ESTATE)}
    assert found[SITE].lag is None and found[SITE].holder == SITE, found
    lag = found[OTHER].lag
    return lag if lag is not None else may_seconds(ESTATE)


def by(twin: Twin, site: str, ask: Any) -> Any:
    return s3(twin, site, ask, WHO, key_of(twin, site, WHO))


def held(twin: Twin, name: str) -> set[str]:
    """The versions of an object at the other site."""
    found = by(twin, OTHER, lambda one: one.list_object_versions(Bucket=BUCKET, Prefix=name))
    return {one["VersionId"] for one in found.get("Versions", ())}


def test_both_sites_hold_the_same_and_neither_is_behind(qhs: Run) -> None:
    done = qhs("objects", "status", "--json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["differences"]) == (0, []), found
    assert {one["site"] for one in found["behind"]} == set(STORES)


def test_what_is_written_comes_with_its_versions_and_goes_on_after_a_crash(twin: Twin, hosts: Hosts) -> None:
    name = f"đồng bộ/{time.time_ns()}"
    began = time.monotonic()
    versions = {by(twin, SITE, lambda one: one.put_object(Bucket=BUCKET, Key=name, Body=b"1"))["VersionId"]}
    await_(lambda: held(twin, name) == versions, FOLLOWS)
    MEASURED.append(f"an object of {SITE} at {OTHER} after {time.monotonic() - began:.1f} s")
    hosts.say("systemctl kill --signal=KILL qhs-object-sync.service", [STORES[OTHER]])
    versions |= {by(twin, SITE, lambda one: one.put_object(Bucket=BUCKET, Key=name, Body=b"2"))["VersionId"]}
    await_(lambda: held(twin, name) == versions, FOLLOWS)


def test_how_far_behind_a_site_is_is_measured(hosts: Hosts) -> None:
    said = hosts.say("cat /var/lib/prometheus/node-exporter/qhs_object_sync.prom", list(STORES.values()))
    assert said[STORES[SITE]] == ""
    assert f'qhs_object_sync_may_seconds{{source="{SITE}"}} {may_seconds(ESTATE)}' in said[STORES[OTHER]]


def test_the_machine_of_the_other_store_is_let_in_by_its_certificate_alone_and_only_reads(hosts: Hosts) -> None:
    """The store's own ports would ask it nothing."""
    store = ESTATE.machines[STORES[SITE]].addresses[0]
    asked = {
        f"{method} {path} {shows}": hosts.say(
            f"python3 -c {shlex.quote(ASKS)} {store} {method} '{path}' {shows}", [STORES[OTHER]]
        )[STORES[OTHER]]
        for method, path in (("GET", "/?proxyChunkId=99,0123456789"), ("DELETE", f"/buckets/{BUCKET}?recursive=true"))
        for shows in ("shown", "none")
    }
    assert asked.pop("GET /?proxyChunkId=99,0123456789 shown") not in ("403", "refused"), "there is no such part"
    assert asked.pop(f"DELETE /buckets/{BUCKET}?recursive=true shown") == "403"
    assert set(asked.values()) == {"refused"}
