"""A plain client of the registry that takes images: OCI's distribution API, over a stream that somebody else opens.

It is the one door for images: what has come in counts once it has been fetched back, and a signature of the key for
images holds for it and for its bill of materials (C-K8S-08).
"""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from qhs.containers import Built, signature
from qhs.containers.artefact import MANIFEST, descriptor, sha256
from qhs.containers.notary import Notary
from qhs.containers.signature import SignatureError
from qhs.errors import UserError
from stacks.provider.carried import Carried

BILL = "application/vnd.cyclonedx+json"
EMPTY = "application/vnd.oci.empty.v1+json"
NOTHING = b"{}"
BESIDE = re.compile(r"sha256-([0-9a-f]{64})\.(?:sbom|sig)")
"""Tags of what belongs to an image."""
PAGE = 100
"""Names that are asked for at once."""
TIMEOUT = 120
"""Seconds for one answer: a registry computes the digest of what it took before it gives one."""
SPARE = 16 * 1024 * 1024
"""Bytes that a disk must have beside an image: for its bill, its signature, and what a registry writes down."""
MB = 1_000_000

type Door = Callable[[str], Carried]
"""By a word of the program behind it: `speak` to the registry, or `room`."""


class Registry:
    """The one of a site. The connection is opened when it is asked, and kept until the block ends."""

    def __init__(self, site: str, machine: str, door: Door, notary: Notary) -> None:
        self.site, self.machine = site, machine
        self._notary, self._door = notary, door
        self._connection = _Connection(door)

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def promote(self, built: Built) -> list[str]:
        """Have an image, its bill of materials and a signature for both; what had to be done. Raises UserError."""
        name, digest, bill = built.report.name, built.report.digest, bill_of(built)
        done = []
        if not self.has(name, digest):
            self._refuse_full(built)
            self._copy(built)
            done.append("copied")
        if self.manifest(name, tag(digest)) != bill:
            self._attach(built, bill)
            done.append("bill of materials brought")
        if lacking := self.fault(name, digest):
            self._sign(name, digest, bill)
            done.append(f"signed ({lacking})")
        if not self.complete(built):
            found = self.fault(name, digest) or "another bill of materials"
            raise self._error(f"{name}@{digest}: fetched back, {found}", "look at its log, then once more")
        return done

    def _refuse_full(self, built: Built) -> None:
        """Before anything of an image is sent: what a full disk broke off lies there until somebody clears it away."""
        room = self.room()
        wanted = built.report.bytes + built.bill.stat().st_size + SPARE
        if room["free"] < wanted:
            raise self._error(
                f"no room for {built.report.name}@{built.report.digest}: found {room['free'] / MB:.1f} MB free of "
                f"{room['all'] / MB:.1f} MB in /var/lib/qhs-registry; wanted {wanted / MB:.1f} MB. Nothing was sent",
                "`qhs images verify` names images that have no recipe: take them out there; or give the machine a "
                "larger disk (`disk_gib` in estate.yaml); then once more",
            )

    def room(self) -> dict[str, int]:
        """Bytes that its disk has, `free` and in `all`. Raises UserError."""
        carried, answer = self._door("room"), b""
        with suppress(OSError):
            carried.stream.settimeout(TIMEOUT)
            carried.stream.shutdown(socket.SHUT_WR)
            answer = carried.stream.makefile("rb").read()
        said = carried.close()
        try:
            found = json.loads(answer)
            return {one: int(found[one]) for one in ("free", "all")}
        except (ValueError, KeyError, TypeError):
            raise self._error(
                f"it does not say how much room it has: {said or 'no answer'}", "`qhs up`, which sets it up"
            ) from None

    def complete(self, built: Built) -> bool:
        """Whether it has an image, by its digest, and beside it its bill and a signature for both. Raises UserError."""
        name, digest = built.report.name, built.report.digest
        return self.manifest(name, tag(digest)) == bill_of(built) and not self.fault(name, digest)

    def fault(self, name: str, digest: str) -> str:
        """What was found wrong with an image that is fetched back, and what was wanted. Raises UserError."""
        try:
            self._judge(name, digest)
        except SignatureError as fault:
            return str(fault)
        return ""

    def names(self) -> list[str]:
        """Of all that it has anything of, whoever brought it. Raises UserError."""
        found: list[str] = []
        while True:
            after = f"&last={quote(found[-1], safe='')}" if found else ""
            _, headers, body = self._ask("GET", f"_catalog?n={PAGE}{after}", accepted=[200])
            found += json.loads(body)["repositories"]
            if not headers["Link"]:
                return found

    def digests(self, name: str) -> set[str]:
        """Of images under a name that have a tag, a bill or a signature: of others no API tells. Raises UserError."""
        _, _, body = self._ask("GET", f"{name}/tags/list", accepted=[200, 404])
        found = set()
        for one in json.loads(body).get("tags") or ():
            beside = BESIDE.fullmatch(one)
            found.add(f"sha256:{beside[1]}" if beside else sha256(self.manifest(name, one) or b""))
        return found

    def has(self, name: str, digest: str) -> bool:
        """Whether it has an image, by its digest. Raises UserError."""
        return sha256(self.manifest(name, digest) or b"") == digest

    def manifest(self, name: str, reference: str) -> bytes | None:
        """By digest or tag; none: it has none. Raises UserError."""
        status, _, found = self._ask("GET", f"{name}/manifests/{reference}", accepted=[200, 404], Accept=MANIFEST)
        return None if status == HTTPStatus.NOT_FOUND else found

    def _judge(self, name: str, digest: str) -> None:
        if not self.has(name, digest):
            raise SignatureError(f"found no image of the digest {digest}; wanted it")
        bill = self.manifest(name, tag(digest))
        if bill is None:
            raise SignatureError("found no bill of materials; wanted one")
        found = self.manifest(name, signature.tag(digest))
        if found is None:
            raise SignatureError(f"found no signature; wanted one of {self._notary.trust.subject!r}")
        signed = signature.read(found, lambda one: self._blob(name, one))
        self._notary.trust.judge(signed)
        signature.claimed(signed, digest, sha256(bill))
        for one in json.loads(bill)["layers"]:  # as it was signed
            self._blob(name, one["digest"])

    def _blob(self, name: str, digest: str) -> bytes:
        _, _, found = self._ask("GET", f"{name}/blobs/{digest}", accepted=[200, 404])
        if sha256(found) != digest:
            raise SignatureError(f"found {sha256(found)}; wanted what has the digest {digest}")
        return found

    def _sign(self, name: str, digest: str, bill: bytes) -> None:
        signed = self._notary.sign(signature.payload(name, digest, sha256(bill)))
        for content in (signature.config(signed), signed.payload):
            self.put_blob(name, sha256(content), content, len(content))
        self._put_manifest(name, signature.tag(digest), signature.manifest(signed))

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
        self._carried, self.said = self._door("speak"), ""
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
    bill, image = built.bill.read_bytes(), _blob(built, built.report.digest).read_bytes()
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": BILL,
            "config": descriptor(EMPTY, NOTHING),
            "layers": [descriptor(BILL, bill)],
            "subject": descriptor(MANIFEST, image),
        }
    ).encode()


def _blob(built: Built, digest: str) -> Path:
    return built.layout / "blobs" / Path(*digest.split(":"))


def _why(body: bytes) -> str:
    """What a registry says of an error, in its own words."""
    try:
        return "; ".join(f"{one['code']} {one['message']}" for one in json.loads(body)["errors"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace").strip()[:200] or "nothing more"
