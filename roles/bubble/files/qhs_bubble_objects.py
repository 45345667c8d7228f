#!/usr/bin/python3 -B
"""The object store of a bubble, and what of S3 is spoken to it and to the store of the site.

    qhs_bubble_objects.py serve   as asked on standard input, until it is told to end: an empty store

What applications have in their buckets is copied into it by whoever keeps the bubble, who alone is in both networks; of
each object the current version. Applications' keys in it are new.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import re
import socket
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, urlencode

PORT, PATIENCE = 443, 30
"""Seconds for an answer."""
REGION = "qhs"
UNSIGNED = "UNSIGNED-PAYLOAD"
"""TLS is what keeps the content whole on its way."""
PLACE = Path("/var/lib/qhs-backup/bubble")
FOLDER, ADMITTED = PLACE / "objects", PLACE / "admitted.json"
WEED = [
    "/usr/bin/weed", "-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={FOLDER}",
    "-master.telemetry=false", "-master.electionTimeout=1s", "-master.volumeSizeLimitMB=256", "-volume.max=0",
    "-volume.minFreeSpace=5", "-volume.preStopSeconds=0", "-filer", "-s3", f"-s3.config={ADMITTED}", "-s3.iam=false",
    "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false", f"-s3.port={PORT}",
    f"-s3.cert.file={PLACE}/server.crt", f"-s3.key.file={PLACE}/server.key",
]  # fmt: skip


CONTENTS, KEY, SIZE, NEXT = (
    re.compile(f"<{name}>(.*?)</{name}>", re.DOTALL) for name in ("Contents", "Key", "Size", "NextContinuationToken")
)
"""Of what a store says that it has."""


class StoreError(Exception):
    """A store did not do it, and what it said."""


@dataclass(frozen=True, order=True)
class Object:
    """The current version of one."""

    key: str
    size: int


@dataclass(frozen=True)
class Store:
    """By its name and one of its keys. All of it raises StoreError or OSError."""

    name: str
    """What its certificate is for."""
    root: str
    """The file of whom that is from."""
    who: str
    key: str = field(repr=False)
    address: str = ""
    """Where it is; empty: where its name leads."""

    def make(self, bucket: str) -> None:
        """Where there is none."""
        self._done("PUT", bucket)

    def objects(self, bucket: str) -> Iterator[Object]:
        """All that are current."""
        more = {"list-type": "2"}
        while more:
            told = self._done("GET", bucket, more).decode()
            for one in CONTENTS.findall(told):
                yield Object(unescape(KEY.findall(one)[0]), int(SIZE.findall(one)[0]))
            token = NEXT.search(told)
            more = {"continuation-token": unescape(token[1]), "list-type": "2"} if token else {}

    def get(self, where: str) -> bytes:
        """The content of a small one."""
        return self._done("GET", where)

    def put(self, where: str, content: bytes) -> None:
        """The same the other way."""
        self._done("PUT", where, body=content, size=len(content))

    def delete(self, where: str) -> None:
        """Nothing current is there any more."""
        self._done("DELETE", where)

    def content(self, where: str) -> http.client.HTTPResponse:
        """That of one however large, to be read piece by piece."""
        return self._asked("GET", where)

    def take(self, where: str, content: http.client.HTTPResponse, size: int) -> None:
        """What another store gives."""
        with content:
            self._done("PUT", where, body=content, size=size)

    def _done(
        self, method: str, where: str, query: dict[str, str] | None = None, body: Any = b"", size: int = 0
    ) -> bytes:
        with self._asked(method, where, query or {}, body, size) as answer:
            return answer.read()

    def _asked(
        self, method: str, where: str, query: dict[str, str] | None = None, body: bytes | IO[bytes] = b"", size: int = 0
    ) -> http.client.HTTPResponse:
        asked = urlencode(sorted((query or {}).items()), quote_via=quote, safe="")
        path = quote(f"/{where}")
        context = ssl.create_default_context(cafile=self.root)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        plain = socket.create_connection((self.address or self.name, PORT), PATIENCE)
        connection = http.client.HTTPConnection(self.name)
        connection.sock = context.wrap_socket(plain, server_hostname=self.name)
        headers = self._signed(method, path, asked) | {"connection": "close"}
        headers |= {"content-length": str(size)} if method == "PUT" else {}
        connection.request(method, f"{path}?{asked}" if asked else path, body or None, headers)
        answer = connection.getresponse()
        if answer.status >= http.client.BAD_REQUEST:
            raise StoreError(f"{self.name}: {method} {where}: {answer.status} {answer.read()[:300]!r}")
        return answer

    def _signed(self, method: str, path: str, asked: str) -> dict[str, str]:
        """What shows who asks (Signature Version 4)."""
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        given = {"host": self.name, "x-amz-content-sha256": UNSIGNED, "x-amz-date": stamp}
        names, lines = ";".join(given), [f"{name}:{value}" for name, value in given.items()]
        request = "\n".join([method, path, asked, *lines, "", names, UNSIGNED])
        scope = [stamp[:8], REGION, "s3", "aws4_request"]
        digest = hashlib.sha256(request.encode()).hexdigest()
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, "/".join(scope), digest])
        signing = f"AWS4{self.key}".encode()
        for one in (*scope, text):
            signing = hmac.digest(signing, one.encode(), "sha256")
        who = f"Credential={self.who}/{'/'.join(scope)}, SignedHeaders={names}, Signature={signing.hex()}"
        return given | {"authorization": f"AWS4-HMAC-SHA256 {who}"}


def identity(name: str, key: str, rights: list[str]) -> dict[str, Any]:
    """As the store wants whoever comes in."""
    return {"name": name, "credentials": [{"accessKey": name, "secretKey": key}], "actions": rights}


def serve() -> None:
    """Becomes the store."""
    asked = json.load(sys.stdin)
    FOLDER.mkdir(mode=0o700)
    with os.fdopen(os.open(ADMITTED, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump({"identities": asked["identities"]}, file)
    os.environ["WEED_MASTER_VOLUME_GROWTH_COPY_1"] = "1"
    os.execv(WEED[0], [*WEED, f"-s3.ip.bind={asked['address']}"])  # noqa: S606 - who ends this process ends the store


if __name__ == "__main__":
    if sys.argv[1:] != ["serve"]:
        sys.exit(__doc__)
    serve()
