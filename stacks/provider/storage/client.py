"""A plain client of a site's object store, S3 with boto3. Knows nothing of Pulumi."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

PORT = 443
REGION = "qhs"
"""S3 wants one in every signature; the store looks at none."""
TIMEOUT = 20
"""Seconds for one answer."""
ADMITS = 90
"""Seconds in which a store lets in whoever was made known to it: it looks every 60, and starts anew."""
_NOT_YET = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "503"}


class ObjectsError(Exception):
    """A store did not do what it was asked: which, what it said, the way out."""


def client(name: str, proxy: str, root: Path, who: str, key: str) -> Any:
    """boto3's of a store by its name; `proxy` leads there."""
    # Every command of ours comes by this module, and few by this line: a third of a second for those that do not.
    import boto3  # noqa: PLC0415 - see above
    from botocore.config import Config  # noqa: PLC0415 - see above

    return boto3.client(
        "s3",
        endpoint_url=f"https://{name}",
        aws_access_key_id=who,
        aws_secret_access_key=key,
        region_name=REGION,
        verify=str(root),
        config=Config(
            proxies={"https": proxy},
            s3={"addressing_style": "path"},
            retries={"total_max_attempts": 2},
            connect_timeout=TIMEOUT,
            read_timeout=TIMEOUT,
        ),
    )


@dataclass(frozen=True)
class Kept:
    """For how long nobody can change or delete what is written to a bucket: years of an archive, or days."""

    years: int = 0
    days: int = 0


@dataclass(frozen=True, order=True)
class Version:
    """What an object was or is."""

    key: str
    version: str
    etag: str
    """Of its content; empty: that it was deleted."""
    latest: bool
    """Whether it is what whoever names no version gets."""


class Objects:
    """The store of one site; `s3` is boto3's client."""

    def __init__(self, site: str, s3: Any) -> None:
        self._site, self._s3 = site, s3

    def buckets(self) -> list[str]:
        """Raises ObjectsError."""
        return [one["Name"] for one in self._asked("list its buckets", self._s3.list_buckets).get("Buckets", [])]

    def versioned(self, bucket: str) -> bool:
        """Whether a bucket keeps what is written over. Raises ObjectsError."""
        found = self._asked(f"describe {bucket}", self._s3.get_bucket_versioning, Bucket=bucket)
        return bool(found.get("Status") == "Enabled")

    def make(self, bucket: str, locked: bool) -> None:
        """`locked`: one whose objects can be kept from everybody. Raises ObjectsError."""
        self._asked(f"make {bucket}", self._s3.create_bucket, Bucket=bucket, ObjectLockEnabledForBucket=locked)

    def kept(self, bucket: str) -> Kept:
        """For how long nobody can change or delete what is written there. Raises ObjectsError."""
        retention = self._lock(bucket).get("Rule", {}).get("DefaultRetention", {})
        if retention.get("Mode") != "COMPLIANCE":
            return Kept()
        return Kept(int(retention.get("Years", 0)), int(retention.get("Days", 0)))

    def keep(self, bucket: str, kept: Kept) -> None:
        """From now on; what was written before stays as it was. Raises ObjectsError."""
        period = {"Years": kept.years} if kept.years else {"Days": kept.days}
        rule = {"DefaultRetention": {"Mode": "COMPLIANCE", **period}}
        self._asked(
            f"keep what is in {bucket}",
            self._s3.put_object_lock_configuration,
            Bucket=bucket,
            ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", **({"Rule": rule} if kept != Kept() else {})},
        )

    def contents(self, bucket: str) -> set[Version]:
        """All that it holds. Raises ObjectsError."""
        return {
            Version(one["Key"], one["VersionId"], one.get("ETag", ""), one["IsLatest"])
            for page in self._versions(bucket)
            for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ()))
        }

    def holds(self, bucket: str) -> bool:
        """Whether it has any object, or what one was before. Raises ObjectsError."""
        found = self._asked(f"look into {bucket}", self._s3.list_object_versions, Bucket=bucket, MaxKeys=1)
        return bool(found.get("Versions") or found.get("DeleteMarkers"))

    def kept_until(self, bucket: str) -> tuple[str, datetime] | None:
        """An object that nobody can delete yet, and until when, in UTC; None: there is none. Raises ObjectsError."""
        if not self._lock(bucket):
            return None
        now = datetime.now(UTC)
        for page in self._versions(bucket):
            for one in page.get("Versions", ()):
                until = self._asked(
                    f"describe {one['Key']} in {bucket}",
                    self._s3.get_object_retention,
                    absent="NoSuchObjectLockConfiguration",
                    **_at(bucket, one),
                )
                if (end := until.get("Retention", {}).get("RetainUntilDate")) and end > now:
                    return str(one["Key"]), end.astimezone(UTC)
        return None

    def drop(self, bucket: str) -> None:
        """With all that it holds; an archive lets nothing go. Raises ObjectsError."""
        for page in self._versions(bucket):
            for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                self._asked(f"delete {one['Key']} in {bucket}", self._s3.delete_object, **_at(bucket, one))
        self._asked(f"take {bucket} away", self._s3.delete_bucket, Bucket=bucket)

    def keep_versions(self, bucket: str, keep: bool) -> None:
        """Raises ObjectsError."""
        status = {"Status": "Enabled" if keep else "Suspended"}
        self._asked(
            f"keep versions in {bucket}", self._s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration=status
        )

    def names(self, bucket: str, below: str) -> list[str]:
        """Of objects whose names begin so. Raises ObjectsError."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=below)
        found = self._asked(f"list {below} in {bucket}", lambda: list(pages))
        return [one["Key"] for page in found for one in page.get("Contents", [])]

    def read(self, bucket: str, name: str) -> bytes:
        """Raises ObjectsError."""
        found = self._asked(f"read {name} in {bucket}", self._s3.get_object, Bucket=bucket, Key=name)
        return bytes(found["Body"].read())

    def write(self, bucket: str, name: str, content: bytes) -> None:
        """Raises ObjectsError."""
        self._asked(f"write {name} in {bucket}", self._s3.put_object, Bucket=bucket, Key=name, Body=content)

    def delete(self, bucket: str, name: str) -> None:
        """Raises ObjectsError."""
        self._asked(f"delete {name} in {bucket}", self._s3.delete_object, Bucket=bucket, Key=name)

    def _lock(self, bucket: str) -> dict[str, Any]:
        """How a bucket keeps objects from everybody; empty: it keeps none."""
        ask = self._s3.get_object_lock_configuration
        found = self._asked(f"describe {bucket}", ask, absent="ObjectLockConfigurationNotFoundError", Bucket=bucket)
        return dict(found.get("ObjectLockConfiguration", {}))

    def _versions(self, bucket: str) -> list[dict[str, Any]]:
        """All that it holds, by page."""
        pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
        found: list[dict[str, Any]] = self._asked(f"look into {bucket}", lambda: list(pages))
        return found

    def _asked(self, what: str, ask: Callable[..., Any], absent: str = "", **given: Any) -> Any:
        """Every fault as one message; who is new is let in after a while. `absent`: the fault that is an answer."""
        end = time.monotonic() + ADMITS
        while True:
            try:
                return ask(**given)
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code", "")
                if absent and code == absent:
                    return {}
                if code in _NOT_YET and time.monotonic() < end:
                    time.sleep(1)
                    continue
                raise self._fault(what, f"{code}: {error.response.get('Error', {}).get('Message', '')}") from None
            except BotoCoreError as error:
                raise self._fault(what, f"no connection ({type(error).__name__})") from None

    def _fault(self, what: str, found: str) -> ObjectsError:
        return ObjectsError(
            f"the object store of {self._site}, asked to {what}: found {found}; wanted an answer. "
            "Way out: `qhs up`, which sets it up, or see `journalctl -u 'qhs-objects*'` on its machine"
        )


def _at(bucket: str, version: dict[str, Any]) -> dict[str, str]:
    """Where a version is."""
    return {"Bucket": bucket, "Key": version["Key"], "VersionId": version["VersionId"]}
