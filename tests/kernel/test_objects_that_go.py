"""Buckets in the genuine object store of the machine image: which go, which wait for consent, which stay whatever."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from qhs.image import recipe
from qhs.image.programs import NEEDS_MIB
from qhs.tools import wheels
from qhs.twin import inside
from stacks.provider.settings import ProviderError, Settings
from stacks.provider.storage import handlers
from stacks.provider.storage.client import Objects
from stacks.provider.storage.handlers import BucketHandler
from tests.twin.waiting import await_

WHO, KEY, PORT = "provisioner", "of-a-test", 8333
ADMITS = {"identities": [{"name": WHO, "credentials": [{"accessKey": WHO, "secretKey": KEY}], "actions": ["Admin"]}]}
URN = "urn:pulumi:twin.replica::qhs::qhs:data:Replica$qhs:storage:Bucket::hop-thu-bucket"
BUCKET: dict[str, Any] = {"site": "qhdc", "name": "hop-thu", "tenant": "mail", "versioned": True, "archive_years": 0}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One of its own, in which a store answers at its loopback."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "keys.json").write_text(json.dumps(ADMITS))
    programs = recipe.load()
    site = wheels.unpacked("image-programs", programs.wheels, NEEDS_MIB, print)
    weed = site / dict(programs.programs)["/usr/bin/weed"]
    serve = (
        f"ip link set lo up; exec {weed} -logtostderr=true server -ip=127.0.0.1 -ip.bind=127.0.0.1 -dir={folder} "
        f"-filer -s3 -s3.port={PORT} -s3.config={folder}/keys.json -master.telemetry=false -s3.port.iceberg=0 "
        "-s3.port.lance=0 -volume.max=50 -master.volumeSizeLimitMB=64"
    )
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(["unshare", "--net", "sh", "-ec", serve], stdout=log, stderr=log, cwd=folder) as store,
    ):
        space = Path(f"/proc/{store.pid}/ns/net")
        await_(lambda: answers(space), 60)
        yield space
        store.kill()


def client() -> Any:
    plain = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})
    at = f"http://127.0.0.1:{PORT}"
    given = {"aws_access_key_id": WHO, "aws_secret_access_key": KEY, "region_name": "x", "config": plain}
    return boto3.client("s3", endpoint_url=at, **given)


def answers(space: Path) -> bool:
    def ask() -> bool:
        try:
            client().list_buckets()
        except (BotoCoreError, ClientError):
            return False
        return True

    return inside.call(space, ask)


@pytest.fixture
def handler(network: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> BucketHandler:
    """Nobody has approved anything."""
    monkeypatch.setattr(handlers, "objects", lambda *_: Objects("qhdc", client()))
    approvals = {"folder": str(tmp_path / "approvals"), "signers": str(tmp_path / "approvers"), "quorum": 2}
    others = {"root": "", "provisioner": "", "stores": {}, "objects": {}, "databases": {}, "clusters": {}}
    (tmp_path / "access.json").write_text(json.dumps(others | {"approvals": approvals}))
    return BucketHandler(Settings(trust_access=tmp_path / "access.json"))


def refused(network: Path, handler: BucketHandler, inputs: dict[str, Any]) -> str:
    """What a program and the engine are told alike."""

    def ask() -> list[str]:
        said = []
        for one in (handler.judge, handler.remove):
            with pytest.raises(ProviderError) as refusal:
                one(URN, inputs)
            said.append(str(refusal.value))
        return said

    first, second = inside.call(network, ask)
    assert first.partition(" not before ")[0] == second.partition(" not before ")[0]
    return first


def test_a_bucket_that_holds_nothing_goes(network: Path, handler: BucketHandler) -> None:
    def gone() -> Any:
        handler.write(URN, BUCKET)
        handler.judge(URN, BUCKET)
        handler.remove(URN, BUCKET)
        handler.judge(URN, BUCKET)
        return handler.read("qhdc/hop-thu", BUCKET)

    assert inside.call(network, gone) is None


def test_one_that_holds_something_waits_for_consent_and_then_goes_with_what_was_written_over(
    network: Path, handler: BucketHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill() -> None:
        handler.write(URN, BUCKET)
        for body in (b"1", b"2"):
            client().put_object(Bucket="hop-thu", Key="thư", Body=body)
        client().delete_object(Bucket="hop-thu", Key="thư")

    inside.call(network, fill)
    assert refused(network, handler, BUCKET).startswith(
        "qhdc/hop-thu: holds objects of the application mail, which would be gone with it; wanted to be kept. Way out: "
        f"declare it again (`buckets` of mail in stacks/catalogue/tenants.yaml), or: delete of {URN}: found none in "
    )
    estates = BUCKET | {"tenant": ""}
    assert "(stacks/components/site_objects.py), or: " in refused(network, handler, estates)
    monkeypatch.setattr(handler, "require_approval", lambda urn, why: None)

    def gone() -> Any:
        handler.remove(URN, BUCKET)
        return handler.read("qhdc/hop-thu", BUCKET)

    assert inside.call(network, gone) is None


def test_an_archive_that_holds_something_stays_whoever_approves(
    network: Path, handler: BucketHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole: nothing of it is tried. One that holds nothing goes."""
    archive = BUCKET | {"name": "luu-tru", "archive_years": 5}
    monkeypatch.setattr(handler, "require_approval", lambda urn, why: None)

    def held() -> list[str]:
        return [one["VersionId"] for one in client().list_object_versions(Bucket="luu-tru")["Versions"]]

    def fill() -> list[str]:
        handler.write(URN, archive)
        handler.remove(URN, archive)
        handler.write(URN, archive)
        for name in ("một", "hai"):
            client().put_object(Bucket="luu-tru", Key=name, Body=b"1")
        return held()

    before = inside.call(network, fill)
    said = refused(network, handler, archive)
    assert said.startswith(
        "qhdc/luu-tru: holds objects of the application mail that nobody can delete, 'hai' among them not before "
    )
    assert "wanted to be kept, whoever approves" in said and "approve new" not in said
    assert inside.call(network, held) == before
