"""Files of applications: each in its own buckets, what is written over kept, no archive lets anything go (S-056)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from qhs.twin.names import Twin
from stacks.model.objects import PROVISIONER, buckets, users
from tests.twin.conftest import Run, WatchedUp
from tests.twin.consent import Consent
from tests.twin.objects import key_of, s3
from tests.twin.trust import ESTATE

pytestmark = pytest.mark.live

STACK, SITE = "twin.replica", "qhdc"
DESTROY = ("destroy", "--yes", "--run-program", "--target")
OF = {one.name: one.buckets[0] for one in users(ESTATE, SITE)}
ARCHIVE, ITS_TENANT = next((one.name, one.tenant) for one in buckets(ESTATE) if one.archive_years)
THREE = ("bau-cu", "mail", ITS_TENANT)
NAME = "hồ sơ số 1"


def by[T](twin: Twin, who: str, ask: Callable[[Any], T]) -> T:
    return s3(twin, SITE, ask, who, key_of(twin, SITE, who))


def pulumi(qhs: Run, *words: str, code: int = 0) -> str:
    done = qhs("shell", "--", "pulumi", *words, "-s", STACK, "--non-interactive")
    assert bool(done.returncode) == bool(code), done.stdout + done.stderr
    return done.stdout


def test_every_application_has_its_own_buckets_and_comes_into_no_other(twin: Twin, second_up: WatchedUp) -> None:
    made = by(twin, PROVISIONER, lambda one: {found["Name"] for found in one.list_buckets()["Buckets"]})
    assert made >= {one.name for one in buckets(ESTATE)}
    came = {
        (who, of): by(twin, who, lambda one, of=of: uses(one, OF[of])) for who, of in itertools.product(THREE, THREE)
    }
    assert came == {(who, of): who == of for who, of in came}


def uses(one: Any, bucket: str) -> bool:
    """Writes, reads and lists there; or may do nothing of it."""
    done = []
    for ask in (
        lambda: one.put_object(Bucket=bucket, Key=NAME, Body=b"1"),
        lambda: one.get_object(Bucket=bucket, Key=NAME),
        lambda: one.list_objects_v2(Bucket=bucket),
    ):
        try:
            ask()
        except ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDenied"
            done.append(False)
        else:
            done.append(True)
    assert len(set(done)) == 1, done
    return done[0]


def test_what_is_written_over_or_deleted_is_kept(twin: Twin) -> None:
    def write_over(one: Any) -> list[bytes]:
        for body in (b"first", b"second"):
            one.put_object(Bucket=OF["mail"], Key="kept", Body=body)
        one.delete_object(Bucket=OF["mail"], Key="kept")
        kept = one.list_object_versions(Bucket=OF["mail"], Prefix="kept")["Versions"]
        return [one.get_object(Bucket=OF["mail"], Key="kept", VersionId=it["VersionId"])["Body"].read() for it in kept]

    assert by(twin, "mail", write_over) == [b"second", b"first"]


@pytest.mark.parametrize("who", [ITS_TENANT, PROVISIONER])
def test_of_an_archive_nobody_takes_anything_away(twin: Twin, who: str) -> None:
    version = by(twin, ITS_TENANT, lambda one: one.put_object(Bucket=ARCHIVE, Key=NAME, Body=b"kept"))["VersionId"]
    at = {"Bucket": ARCHIVE, "Key": NAME, "VersionId": version}

    def take_away(one: Any) -> bytes:
        for ask in (
            lambda: one.delete_object(**at),
            lambda: one.delete_object(**at, BypassGovernanceRetention=True),
            lambda: one.put_object_retention(**at, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": "2026-01-01"}),
        ):
            with pytest.raises(ClientError, match=r"AccessDenied|Invalid"):
                ask()
        return bytes(one.get_object(**at)["Body"].read())

    assert by(twin, who, take_away) == b"kept"


def test_what_is_changed_by_hand_is_seen_and_put_right(qhs: Run, twin: Twin) -> None:
    days = {"DefaultRetention": {"Mode": "COMPLIANCE", "Years": 1}}
    by(
        twin,
        PROVISIONER,
        lambda one: (
            one.put_bucket_versioning(Bucket=OF["mail"], VersioningConfiguration={"Status": "Suspended"}),
            one.put_object_lock_configuration(
                Bucket=ARCHIVE, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": days}
            ),
        ),
    )
    seen = pulumi(qhs, "preview", "--refresh", "--diff")
    for shown in ("versioned", "archive_years"):
        assert shown in seen, seen
    pulumi(qhs, "up", "--refresh", "--yes")
    pulumi(qhs, "preview", "--refresh", "--expect-no-changes")


def test_a_bucket_that_holds_something_stays(qhs: Run, twin: Twin) -> None:
    """Emptied it goes."""
    bucket = OF["bau-cu"]
    destroy = (*DESTROY, f"**::{bucket}-bucket")
    by(twin, "bau-cu", lambda one: one.put_object(Bucket=bucket, Key=NAME, Body=b"1"))
    said = pulumi(qhs, *destroy, code=1)
    assert f"qhdc/{bucket}: holds objects of the application bau-cu, which would be gone with it" in said
    assert "`buckets` of bau-cu in stacks/catalogue/tenants.yaml" in said
    pulumi(qhs, "preview", "--refresh", "--expect-no-changes")

    def clear(one: Any) -> None:
        for it in one.list_object_versions(Bucket=bucket)["Versions"]:
            one.delete_object(Bucket=bucket, Key=it["Key"], VersionId=it["VersionId"])

    by(twin, "bau-cu", clear)
    pulumi(qhs, *destroy)
    assert bucket not in by(twin, PROVISIONER, lambda one: [it["Name"] for it in one.list_buckets()["Buckets"]])
    pulumi(qhs, "up", "--yes")
    assert by(twin, "bau-cu", lambda one: uses(one, bucket))


def test_a_bucket_that_holds_something_goes_by_the_consent_of_two(qhs: Run, twin: Twin, tmp_path: Path) -> None:
    """With what was written over; it comes again, empty."""
    bucket = OF["mail"]
    destroy = (*DESTROY, f"**::{bucket}-bucket")
    for body in (b"1", b"2"):
        by(twin, "mail", lambda one, body=body: one.put_object(Bucket=bucket, Key=NAME, Body=body))
    assert Consent(qhs, tmp_path).to(pulumi(qhs, *destroy, code=1)) == 1
    pulumi(qhs, *destroy)
    assert bucket not in by(twin, PROVISIONER, lambda one: [it["Name"] for it in one.list_buckets()["Buckets"]])
    pulumi(qhs, "up", "--yes")
    assert by(twin, "mail", lambda one: one.list_object_versions(Bucket=bucket).get("Versions", [])) == []
    assert by(twin, "mail", lambda one: uses(one, bucket))


def test_an_archive_stays_whoever_approves(qhs: Run, twin: Twin, tmp_path: Path) -> None:
    """Until its time is over; nothing is half gone (S-056)."""

    def held(one: Any) -> set[str]:
        return {it["VersionId"] for it in one.list_object_versions(Bucket=ARCHIVE)["Versions"]}

    by(twin, ITS_TENANT, lambda one: one.put_object(Bucket=ARCHIVE, Key=NAME, Body=b"kept"))
    before = by(twin, PROVISIONER, held)
    urn = f"urn:pulumi:{STACK}::qhs::qhs:data:Replica$qhs:storage:Bucket::{ARCHIVE}-bucket"
    assert Consent(qhs, tmp_path).to(f"`qhs approve new delete '{urn}'`") == 1
    said = pulumi(qhs, *DESTROY, urn, code=1)
    assert f"{SITE}/{ARCHIVE}: holds objects of the application {ITS_TENANT} that nobody can delete" in said
    assert f"wanted to be kept, whoever approves. Way out: declare it again (`buckets` of {ITS_TENANT} in " in said
    assert by(twin, PROVISIONER, held) == before
    pulumi(qhs, "preview", "--refresh", "--expect-no-changes")
