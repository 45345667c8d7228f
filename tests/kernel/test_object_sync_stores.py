"""Applications' buckets in two genuine stores: whichever has not the lease follows the other (S-002, S-040, S-041)."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from qhs_object_sync import DRAINS, EARLIER, HOLDS

from qhs.objects import alike
from qhs.twin import inside
from stacks.provider.storage.client import Objects, Version
from tests.kernel.certified import certify
from tests.kernel.clusters import Wires, wired
from tests.kernel.stores import ADDRESSES, ARCHIVE, BUCKETS, MAY, OWN, TENANT, WHO, Site, two_sites
from tests.twin.waiting import await_

MAIL, FILES = BUCKETS[:2]
NEW = "somebody-new"
COMES = 20
"""Seconds in which a change comes to be at the other site, on a machine that is busy."""


@pytest.fixture(scope="module")
def wires() -> Iterator[Wires]:
    with wired(ADDRESSES) as found:
        yield found


@pytest.fixture(scope="module")
def sites(own: Path, wires: Wires, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    with two_sites(own, wires, tmp_path_factory.mktemp("stores")) as found:
        tell(found, "qhdc")
        yield found


def tell(sites: dict[str, Site], holder: str) -> None:
    for one in sites.values():
        one.told(holder)


def make(one: Any, name: str, locked: bool = False) -> None:
    one.create_bucket(Bucket=name, ObjectLockEnabledForBucket=locked)
    one.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})


def held(site: Site, bucket: str) -> set[Version]:
    """Nothing where there is no such bucket."""

    def ask(one: Any) -> set[Version]:
        there = Objects(site.site, one)
        return there.contents(bucket) if bucket in there.buckets() else set()

    return site.s3(ask)


def same(sites: dict[str, Site], *buckets: str) -> None:
    def alike() -> bool:
        return all(held(sites["qhdc"], one) == held(sites["ndc"], one) != set() for one in buckets)

    await_(alike, COMES)


def test_somebody_new_comes_in_while_all_others_are_served(sites: dict[str, Site]) -> None:
    one, missed = sites["ndc"], []

    def comes_in(who: str) -> bool:
        try:
            return one.shows(lambda client: bool(client.list_buckets()), who)
        except (BotoCoreError, ClientError) as error:
            missed.append((who, str(error)))
            return False

    await_(lambda: comes_in(TENANT), COMES)
    assert not comes_in(NEW)
    missed.clear()
    one.admit(MAY | {NEW: ["Admin"]})
    one.reload()
    await_(lambda: comes_in(TENANT) and comes_in(NEW), COMES)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        assert comes_in(TENANT) and comes_in(NEW)
    assert [why for who, why in missed if who == TENANT] == []


def test_versions_deletions_and_large_objects_come_as_they_are(sites: dict[str, Site]) -> None:
    def fill(one: Any) -> None:
        make(one, MAIL)
        for body in (b"first", b"second"):
            one.put_object(Bucket=MAIL, Key="thư/một", Body=body)
        one.put_object(Bucket=MAIL, Key="gone", Body=b"1")
        one.delete_object(Bucket=MAIL, Key="gone")
        one.put_object(Bucket=MAIL, Key="large", Body=b"x" * (20 << 20))

    sites["qhdc"].s3(fill)
    same(sites, MAIL)
    there = held(sites["ndc"], MAIL)
    assert len(there) == 5
    assert sites["ndc"].s3(lambda one: one.get_bucket_versioning(Bucket=MAIL)["Status"]) == "Enabled"
    assert sites["ndc"].s3(lambda one: one.get_object(Bucket=MAIL, Key="thư/một")["Body"].read()) == b"second"
    assert sites["ndc"].s3(lambda one: len(one.get_object(Bucket=MAIL, Key="large")["Body"].read())) == 20 << 20
    (first,) = [one for one in there if one.key == "thư/một" and not one.latest]
    sites["qhdc"].s3(lambda one: one.delete_object(Bucket=MAIL, Key="thư/một", VersionId=first.version))
    same(sites, MAIL)
    assert first not in held(sites["ndc"], MAIL)


def test_the_version_that_is_current_is_so_there_too(sites: dict[str, Site]) -> None:
    """However quickly another one comes after it: by eight changes at a time, 18 of 50 objects were not right."""

    def fill(one: Any) -> None:
        for number in range(20):
            for body in (b"first", b"second"):
                one.put_object(Bucket=MAIL, Key=f"{number}/quick", Body=body)
            one.put_object(Bucket=MAIL, Key=f"{number}/gone", Body=b"1")
            one.delete_object(Bucket=MAIL, Key=f"{number}/gone")

    sites["qhdc"].s3(fill)
    same(sites, MAIL)


def test_how_far_behind_a_site_is_counts_on_while_nothing_comes(sites: dict[str, Site]) -> None:
    await_(lambda: (sites["ndc"].status()["lag"] or 99) < 8, COMES)
    assert sites["ndc"].status()["follows"] == "qhdc"
    wanted = {"site": "qhdc", "holder": "qhdc", "follows": "", "lag": None, "wrong": ""}
    assert wanted.items() <= sites["qhdc"].status().items()


def test_locks_come_too_and_hold_there(sites: dict[str, Site]) -> None:
    until = datetime.now(UTC) + timedelta(days=2)

    def keep(one: Any) -> None:
        make(one, FILES, locked=True)
        one.put_object(
            Bucket=FILES, Key="kept", Body=b"1", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until
        )

    sites["qhdc"].s3(keep)
    same(sites, FILES)
    (version,) = held(sites["ndc"], FILES)

    def take_away(one: Any) -> Any:
        with pytest.raises(ClientError, match="AccessDenied"):
            one.delete_object(Bucket=FILES, Key="kept", VersionId=version.version)
        return one.get_object_retention(Bucket=FILES, Key="kept", VersionId=version.version)["Retention"]

    found = sites["ndc"].s3(take_away)
    assert (found["Mode"], found["RetainUntilDate"].date()) == ("COMPLIANCE", until.date())


def test_what_an_archive_holds_stays_though_the_other_site_loses_it_beneath_its_lock(sites: dict[str, Site]) -> None:
    """The store's own ports know no locks: whoever is root on one machine must not be rid of an archive at both."""

    def fill(one: Any) -> None:
        make(one, ARCHIVE, locked=True)
        one.put_object(Bucket=ARCHIVE, Key="biên bản", Body=b"1")

    sites["qhdc"].s3(fill)
    same(sites, ARCHIVE)
    before = held(sites["ndc"], ARCHIVE)
    beneath(sites["qhdc"], f"/buckets/{ARCHIVE}?recursive=true", "DELETE")
    assert held(sites["qhdc"], ARCHIVE) == set()
    comes_after(sites, "qhdc")
    assert held(sites["ndc"], ARCHIVE) == before


def test_buckets_of_the_estate_are_each_sites_own(sites: dict[str, Site]) -> None:
    def fill(one: Any) -> None:
        one.create_bucket(Bucket=OWN)
        one.put_object(Bucket=OWN, Key="mine", Body=one.meta.endpoint_url.encode())

    for one in sites.values():
        one.s3(fill)
    comes_after(sites, "qhdc")
    before = held(sites["ndc"], OWN)
    sites["qhdc"].s3(lambda one: one.put_object(Bucket=OWN, Key="another", Body=b"1"))
    beneath(sites["qhdc"], f"/buckets/{OWN}?recursive=true", "DELETE")
    assert held(sites["qhdc"], OWN) == set()
    comes_after(sites, "qhdc")
    assert held(sites["ndc"], OWN) == before != set()


def test_after_a_crash_it_goes_on_from_where_it_was(sites: dict[str, Site]) -> None:
    sites["ndc"].crash()

    def change(one: Any) -> None:
        for number in range(50):
            one.put_object(Bucket=MAIL, Key=f"meanwhile/{number}", Body=b"1")
        one.delete_object(Bucket=MAIL, Key="large")

    sites["qhdc"].s3(change)
    sites["ndc"].follow()
    same(sites, MAIL)
    assert len(held(sites["ndc"], MAIL)) > 50


def test_nobody_but_the_machine_of_the_other_store_comes_in_and_that_one_only_reads(
    own: Path, wires: Wires, sites: dict[str, Site], tmp_path: Path
) -> None:
    certify(tmp_path / "hall", own, "hall-infra1", ADDRESSES["hall-infra1"], site="hall")
    # A name of ndc, by an authority that is not for it.
    certify(tmp_path / "false", own, "ndc-storage1", ADDRESSES["ndc-storage1"], site="hall")
    asks = (
        ("GET", f"/buckets/{MAIL}/"),
        ("DELETE", f"/buckets/{MAIL}?recursive=true"),
        ("GET", "/"),
        ("PUT", "/buckets/x"),
    )
    asks += (("POST", "/filer_pb.SeaweedFiler/DeleteEntry"), ("POST", "/filer_pb.SeaweedFiler/KvPut"))
    for who in (tmp_path / "hall", tmp_path / "false", sites["ndc"].root / "etc/qhs/tls"):
        for method, path in asks:
            assert came(wires, who, method, path) in (403, "refused"), (who, method, path)
    by_its_own = sites["ndc"].root / "etc/qhs/tls"
    # It says that there is no such part: so it was asked.
    assert came(wires, by_its_own, "GET", "/?proxyChunkId=99,0123456789") not in (403, "refused")
    assert came(wires, None, "GET", "/?proxyChunkId=99,0123456789") == "refused"
    assert came(wires, tmp_path / "hall", "GET", "/?proxyChunkId=99,0123456789") == 403


def test_applications_change_something_where_the_lease_is_alone_and_the_estate_anywhere(sites: dict[str, Site]) -> None:
    def write(one: Any) -> str:
        return str(one.put_object(Bucket=MAIL, Key="by its application", Body=b"1")["VersionId"])

    assert sites["qhdc"].shows(write)
    await_(lambda: "by its application" in keys(sites["ndc"]), COMES)
    assert sites["ndc"].shows(lambda one: one.get_object(Bucket=MAIL, Key="by its application")["Body"].read()) == b"1"
    for change in (
        write,
        lambda one: one.delete_object(Bucket=MAIL, Key="by its application"),
        lambda one: one.create_multipart_upload(Bucket=MAIL, Key="by its application"),
    ):
        with pytest.raises(ClientError, match="this site has not the lease"):
            sites["ndc"].shows(change)
    assert sites["ndc"].shows(lambda one: make(one, "made-there"), WHO) is None
    # Said by nobody for longer than it is good for.
    sites["qhdc"].told("qhdc", since=HOLDS)
    await_(lambda: refused(sites["qhdc"], write), 10)
    sites["qhdc"].told("qhdc")
    await_(lambda: not refused(sites["qhdc"], write), 10)


def test_nobody_passes_for_the_estate_by_a_second_signature(sites: dict[str, Site]) -> None:
    """The store verifies the first header, or what the query has: what stands before it would believe the last one."""
    there = sites["ndc"]

    def told(path: str, *signatures: str) -> tuple[int, bytes]:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(ADDRESSES[there.name], timeout=10, context=context)
        connection.putrequest("PUT", path)
        for one in signatures:
            connection.putheader("Authorization", one)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read()

    def asked(path: str, *signatures: str) -> tuple[int, bytes]:
        return inside.call(there.network, lambda: told(path, *signatures))

    estate, tenant = (f"AWS4-HMAC-SHA256 Credential={who}/20261130/x/s3/aws4_request" for who in (WHO, TENANT))
    for way in (
        asked("/x/y", tenant, estate),
        asked("/x/y", f"AWS {TENANT}:c2lnbmVk"),
        asked(f"/x/y?X-Amz-Credential={TENANT}", estate),
        asked(f"/x/y?x=1&X%2DAmz-Credential={TENANT}", estate),
        asked(f"/x/y?AWSAccessKeyId={TENANT}", estate),
    ):
        assert (way[0], b"wanted one signature" in way[1]) == (403, True), way
    assert b"this site has not the lease" in asked("/x/y", tenant)[1]
    assert b"wanted one signature" not in asked("/x/y", estate)[1]


def refused(site: Site, ask: Any) -> bool:
    try:
        site.shows(ask)
    except ClientError as error:
        assert "this site has not the lease" in str(error)
        return True
    return False


def test_the_other_way_round_once_the_other_site_has_the_lease(sites: dict[str, Site]) -> None:
    """What was written last before it still comes; nothing that was deleted comes back."""
    sites["qhdc"].s3(lambda one: one.put_object(Bucket=MAIL, Key="last", Body=b"1"))
    tell(sites, "ndc")
    await_(lambda: sites["qhdc"].status()["follows"] == "ndc", COMES)

    def change(one: Any) -> None:
        one.put_object(Bucket=MAIL, Key="from the other", Body=b"1")
        for version in Objects("ndc", one).contents(MAIL):
            if version.key.startswith("meanwhile/"):
                one.delete_object(Bucket=MAIL, Key=version.key, VersionId=version.version)
        make(one, "tin-noi-bo")
        one.put_object(Bucket="tin-noi-bo", Key="first", Body=b"1")

    await_(lambda: "last" in keys(sites["ndc"]), COMES)
    sites["ndc"].s3(change)
    same(sites, MAIL, "tin-noi-bo")
    assert {"from the other", "last"} <= keys(sites["qhdc"])
    assert not {one for one in keys(sites["qhdc"]) if one.startswith("meanwhile/")}
    await_(lambda: sites["ndc"].status()["follows"] == "", COMES)
    comes_after(sites, "ndc")
    same(sites, MAIL)


def test_what_only_one_side_has_after_a_split_is_told_and_stays_where_it_is(sites: dict[str, Site]) -> None:
    """ndc has the lease and is cut off; qhdc gets it. What ndc took meanwhile counts no more, and is not lost."""
    sites["qhdc"].cut_off()
    sites["ndc"].s3(lambda one: one.put_object(Bucket=MAIL, Key="orphan", Body=b"1"))
    sites["ndc"].s3(lambda one: one.put_object(Bucket=MAIL, Key="both", Body=b"of ndc"))
    time.sleep(EARLIER + 2)
    sites["qhdc"].told("qhdc")
    await_(lambda: sites["qhdc"].status()["holder"] == "qhdc", COMES)
    sites["qhdc"].s3(lambda one: one.put_object(Bucket=MAIL, Key="both", Body=b"of qhdc"))
    time.sleep(DRAINS + 2)
    sites["qhdc"].joined()
    sites["ndc"].told("qhdc")
    comes_after(sites, "qhdc")
    found = {site: one.s3(lambda s3, site=site: alike.held(Objects(site, s3), [MAIL])) for site, one in sites.items()}
    differ = alike.differences(found)
    assert {one.key for one in differ if one.found["qhdc"] == alike.ABSENT} == {"orphan", "both"}
    assert "orphan" in keys(sites["ndc"])
    # And back: what was left behind is not taken up unseen.
    tell(sites, "ndc")
    await_(lambda: sites["qhdc"].status()["follows"] == "ndc", COMES)
    comes_after(sites, "ndc")
    assert "orphan" not in keys(sites["qhdc"])
    assert "orphan" in keys(sites["ndc"])


def keys(site: Site) -> set[str]:
    return {one.key for one in held(site, MAIL) if one.latest and one.etag}


def comes_after(sites: dict[str, Site], source: str) -> None:
    """What was changed before at a site has come, or never will."""
    target = next(one for site, one in sites.items() if site != source)
    name = f"mark/{time.monotonic_ns()}"
    sites[source].s3(lambda one: one.put_object(Bucket=MAIL, Key=name, Body=b"1"))
    await_(lambda: name in keys(target), COMES)


def beneath(site: Site, path: str, method: str) -> None:
    """By the store's own port, which asks nobody who it is."""

    def ask(_: Any) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", 8888, timeout=10)
        connection.request(method, path)
        return connection.getresponse().status

    assert site.s3(ask) == 204


def came(wires: Wires, tls: Path | None, method: str, path: str) -> int | str:
    """What qhdc says to whoever has the key in a folder."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if tls:
        context.load_cert_chain(tls / "machine.crt", tls / "machine.key")

    def ask() -> int | str:
        at = ADDRESSES["qhdc-storage1"]
        connection = http.client.HTTPSConnection(at, 9000, timeout=10, context=context)
        try:
            connection.request(method, path)
            return connection.getresponse().status
        except OSError:
            return "refused"

    return inside.call(wires.networks["hall-infra1"], ask)
