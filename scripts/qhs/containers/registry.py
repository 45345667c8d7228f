"""A plain client of the registry that takes images: OCI's distribution API, over a stream that somebody else opens."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from qhs.containers import Built
from qhs.errors import UserError
from stacks.provider.carried import Carried

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
BILL = "application/vnd.cyclonedx+json"
EMPTY = "application/vnd.oci.empty.v1+json"
NOTHING = b"{}"
TIMEOUT = 120
"""Seconds for one answer: a registry computes the digest of what it took before it gives one."""

type Door = Callable[[], Carried]


class Registry:
    """The one of a site. The connection is opened when it is asked, and kept until the block ends."""

    def __init__(self, site: str, machine: str, door: Door) -> None:
        self.site, self.machine = site, machine
        self._connection = _Connection(door)

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def promote(self, built: Built) -> bool:
        """Have an image and its bill of materials. Returns whether any of it had to be copied. Raises UserError."""
        digest, bill = built.report.digest, bill_of(built)
        copied = False
        if not self.has(built.report.name, digest):
            self._copy(built)
            copied = True
        if not self.has(built.report.name, tag(digest), bill):
            self._attach(built, bill)
            copied = True
        if not self.complete(built):
            raise self._error(f"found no {built.report.name}@{digest} in it after it was copied", "look at its log")
        return copied

    def complete(self, built: Built) -> bool:
        """Whether it has an image, by its digest, with its bill beside it. Raises UserError."""
        name, digest = built.report.name, built.report.digest
        return self.has(name, digest) and self.has(name, tag(digest), bill_of(built))

    def has(self, name: str, reference: str, wanted: bytes | None = None) -> bool:
        """Whether it has a manifest: what is of the digest asked for, or exactly what is wanted. Raises UserError."""
        status, _, found = self._ask("GET", f"{name}/manifests/{reference}", accepted=[200, 404], Accept=MANIFEST)
        if status == HTTPStatus.NOT_FOUND:
            return False
        return found == wanted if wanted is not None else sha256(found) == reference

    def _copy(self, built: Built) -> None:
        """Blobs first: a registry takes no manifest of what it does not have."""
        name, digest = built.report.name, built.report.digest
        manifest = _blob(built, digest).read_bytes()
        content = json.loads(manifest)
        for one in (content["config"], *content["layers"]):
            with _blob(built, one["digest"]).open("rb") as file:
                self.put_blob(name, one["digest"], file, one["size"])
        self._put_manifest(name, digest, manifest)

    def _attach(self, built: Built, manifest: bytes) -> None:
        name = built.report.name
        for content in (NOTHING, built.bill.read_bytes()):
            self.put_blob(name, sha256(content), content, len(content))
        self._put_manifest(name, tag(built.report.digest), manifest)

    def put_blob(self, name: str, digest: str, content: BinaryIO | bytes, size: int) -> None:
        """Where it is not there yet. Raises UserError, also where the content has another digest."""
        status, *_ = self._ask("HEAD", f"{name}/blobs/{digest}", accepted=[200, 404])
        if status == HTTPStatus.OK:
            return
        _, headers, _ = self._ask("POST", f"{name}/blobs/uploads/", accepted=[202])
        place = headers["Location"].removeprefix("/v2/")
        where = f"{place}{'&' if '?' in place else '?'}digest={quote(digest)}"
        length = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        self._ask("PUT", where, content, accepted=[201], **length)

    def _put_manifest(self, name: str, reference: str, manifest: bytes) -> None:
        self._ask("PUT", f"{name}/manifests/{reference}", manifest, accepted=[201], **{"Content-Type": MANIFEST})

    def _ask(
        self, verb: str, path: str, body: BinaryIO | bytes | None = None, *, accepted: list[int], **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        try:
            with suppress(ConnectionError):  # one that wants no more of it may have said why before it hung up
                self._connection.request(verb, f"/v2/{path}", body, headers)
            answer = self._connection.getresponse()
            found = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            said = self._connection.said or str(error) or type(error).__name__
            raise self._error(f"it does not answer: {said}", "see whether the machine is up, then once more") from None
        if answer.status not in accepted:
            what = f"it answered {answer.status} to {verb} {path.partition('?')[0]}: {_why(found)}"
            raise self._error(what, "`journalctl -u qhs-registry-take` and `df /var/lib/qhs-registry` there")
        return answer.status, answer.headers, found

    def _error(self, what: str, way_out: str) -> UserError:
        return UserError(f"the registry of {self.site} ({self.machine}): {what}", way_out)


class _Connection(http.client.HTTPConnection):
    """By a door; one that the far end closed is opened anew by whoever asks next."""

    def __init__(self, door: Door) -> None:
        super().__init__("registry", timeout=TIMEOUT)
        self._door = door
        self._carried: Carried | None = None
        self.said = ""
        """By what carried the stream, when it ended."""

    def connect(self) -> None:
        self._carried, self.said = self._door(), ""
        self.sock = self._carried.stream
        self.sock.settimeout(TIMEOUT)

    def close(self) -> None:
        """Also called where an answer, or an error, was the last of the stream."""
        super().close()
        carried, self._carried = self._carried, None
        if carried:
            self.said = carried.close()


def tag(digest: str) -> str:
    """Of the bill of materials of an image."""
    return f"{digest.replace(':', '-')}.sbom"


def bill_of(built: Built) -> bytes:
    """The manifest that says of a bill of materials which image it is of: the same bytes for the same image."""
    bill, image = built.bill.read_bytes(), _blob(built, built.report.digest)
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": BILL,
            "config": _descriptor(EMPTY, sha256(NOTHING), len(NOTHING)),
            "layers": [_descriptor(BILL, sha256(bill), len(bill))],
            "subject": _descriptor(MANIFEST, built.report.digest, image.stat().st_size),
        }
    ).encode()


def sha256(content: bytes) -> str:
    """As registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(kind: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest, "size": size}


def _blob(built: Built, digest: str) -> Path:
    return built.layout / "blobs" / Path(*digest.split(":"))


def _why(body: bytes) -> str:
    """What a registry says of an error, in its own words."""
    try:
        return "; ".join(f"{one['code']} {one['message']}" for one in json.loads(body)["errors"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()[:200] or "nothing more"
