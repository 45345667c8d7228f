"""The object stores of the suite's twin, as somebody with a key of theirs, or without any."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config

from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model.objects import IDENTITIES
from stacks.provider.access import TrustAccess
from stacks.provider.doors import opened
from stacks.provider.storage.client import PORT, client
from stacks.provider.storage.stores import door
from tests.twin.trust import of_store, settings


def s3[T](twin: Twin, site: str, ask: Callable[[Any], T], who: str = "", key: str = "") -> T:
    """Asked at a site's object store, with somebody's key or without any."""
    known = settings(twin)
    access = TrustAccess.read(known.trust_access)
    there = access.objects[site]

    def asked() -> T:
        with opened({f"{there.name}:{PORT}": door(known.machines(), there)}) as at:
            return ask(client(there.name, at, access.root, who, key) if who else anonymous(there.name, at, access.root))

    return inside.call(twin.netns_path(), asked)


def anonymous(name: str, proxy: str, root: Path) -> Any:
    config = Config(signature_version=UNSIGNED, proxies={"https": proxy}, s3={"addressing_style": "path"})
    return boto3.client("s3", endpoint_url=f"https://{name}", region_name="x", verify=str(root), config=config)


def key_of(twin: Twin, site: str, who: str) -> str:
    found = of_store(twin, site, lambda there: there.secret(f"{IDENTITIES}/{who}"))
    assert found
    return str(found["key"])
