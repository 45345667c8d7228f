"""The genuine registry with the configuration of its role: what is brought comes back, and nothing else comes in."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import pytest
from jinja2 import Environment, FileSystemLoader

from qhs import folders
from qhs.containers import Built, ensure, promotion, signature
from qhs.containers.artefact import CONFIG, MANIFEST, descriptor, sha256
from qhs.containers.registry import Registry, bill_of, tag
from qhs.errors import UserError
from qhs.image import pool, recipe
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import load
from stacks.model.images import PORT, registries
from stacks.provider.carried import Carried
from tests.kernel.certified import certify, new_root
from tests.twin.waiting import await_
from tests.unit.image_notary import Office

ROLE = Path(__file__).parents[2] / "roles/registry"
ADDRESS = registries(load("twin"))["qhdc"].address
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
"""The images as the unit of the one that nodes fetch from sees them."""


@dataclass
class Site:
    """Both instances over one store, on a root and in a network of their own."""

    program: Path
    root: Path
    network: Path
    office: Office

    @property
    def store(self) -> Path:
        return self.root / "var/lib/qhs-registry"

    @property
    def socket(self) -> Path:
        return self.root / "run/qhs-registry/take.sock"

    def configured(self, name: str) -> Path:
        """As the role has it, below our root."""
        templates = Environment(loader=FileSystemLoader(ROLE / "templates/etc/qhs/registry"), autoescape=True)
        text = templates.get_template(f"{name}.json.j2").render()
        for path in ("/var/lib/qhs-registry", "/run/qhs-registry", "/etc/qhs/tls"):
            text = text.replace(path, f"{self.root}{path}")
        path = self.root / f"{name}.json"
        path.write_text(text)
        return path

    @contextmanager
    def taking(self) -> Iterator[None]:
        with _running([str(self.program), "serve", str(self.configured("take"))], self.root / "take.log"):
            await_(self.socket.exists, 10)
            yield

    @contextmanager
    def serving(self) -> Iterator[None]:
        words = [
            "nsenter",
            f"--net={self.network}",
            "unshare",
            "--mount",
            "sh",
            "-c",
            READ_ONLY,
            "sh",
            str(self.store),
            str(self.program),
            "serve",
        ]
        with _running([*words, str(self.configured("read"))], self.root / "read.log"):
            await_(self.listens, 10)
            yield

    def listens(self) -> bool:
        def knock() -> bool:
            with suppress(OSError), socket.create_connection((ADDRESS, PORT), 1):
                return True
            return False

        return inside.call(self.network, knock)

    def registry(self) -> Registry:
        return Registry("qhdc", "qhdc-infra1", self.door, self.office.notary())

    def door(self, word: str) -> Carried:
        """As sshd runs it."""
        ours, theirs = socket.socketpair()
        words = (
            f"import sys, qhs_registry as one; one.SOCKET, one.STORE = {str(self.socket)!r}, {str(self.store)!r};"
            " sys.exit(one.main())"
        )
        with theirs:
            program = subprocess.Popen(
                [sys.executable, "-c", words], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, text=True,
                cwd=ROLE / "files", env=os.environ | {"SSH_ORIGINAL_COMMAND": word},
            )  # fmt: skip
        return Carried(ours, program)

    def asked(self, verb: str, path: str, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> tuple[int, bytes]:
        """Of the one that nodes fetch from."""
        context = ssl.create_default_context(cafile=str(self.root / "etc/qhs/tls/ca.crt"))
        context.maximum_version = version
        connection = http.client.HTTPSConnection(ADDRESS, PORT, context=context, timeout=10)

        def ask() -> tuple[int, bytes]:
            try:
                connection.request(verb, f"/v2/{path}", headers={"Accept": MANIFEST})
                answer = connection.getresponse()
                return answer.status, answer.read()
            finally:
                connection.close()

        return inside.call(self.network, ask)


@contextmanager
def _running(words: list[str], log: Path) -> Iterator[None]:
    with log.open("ab") as said, subprocess.Popen(words, stdout=said, stderr=said) as program:
        try:
            yield
        finally:
            program.terminate()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the package that the lock of the machine image names."""
    pinned = recipe.load().pins["docker-registry"]
    package = (
        folders.cache() / "packages" / f"{pinned.name}_{quote(pinned.version, safe='+')}_{pinned.architecture}.deb"
    )
    if not package.is_file():
        pool.look(recipe.load(), newer=False, progress=print)
    folder = tmp_path_factory.mktemp("package")
    subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
    return folder / "usr/bin/docker-registry"


@pytest.fixture(scope="module")
def pause() -> Built:
    return ensure("pause", print)


@pytest.fixture(scope="module")
def network() -> Iterator[Path]:
    """With the address of the service in it, and no way out."""
    words = f"ip link set lo up; ip address add {ADDRESS}/32 dev lo; echo up; exec sleep 900"
    with subprocess.Popen(["unshare", "--net", "sh", "-ec", words], stdout=subprocess.PIPE) as init:
        assert init.stdout
        assert init.stdout.readline() == b"up\n"
        yield Path(f"/proc/{init.pid}/ns/net")
        init.kill()


@pytest.fixture
def site(program: Path, network: Path, tmp_path: Path) -> Site:
    one = Site(program, tmp_path / "root", network, Office(tmp_path / "office"))
    for folder in (one.store, one.socket.parent):
        folder.mkdir(parents=True)
    certify(one.root / "etc/qhs/tls", new_root(tmp_path / "pki"), "qhdc-infra1", "registry.qhdc.qhs.internal", ADDRESS)
    return one


def test_what_is_brought_comes_back_and_is_not_copied_twice(site: Site, pause: Built) -> None:
    name, digest = pause.report.name, pause.report.digest
    with site.taking(), site.serving(), site.registry() as registry:
        assert site.asked("GET", f"{name}/manifests/{digest}")[0] == 404
        assert not registry.complete(pause)
        assert len(registry.promote(pause)) == 3
        assert registry.complete(pause)
        kept = {path: path.stat().st_mtime_ns for path in site.store.rglob("*")}
        assert registry.promote(pause) == []
        assert site.office.asked == 1
        for one in json.loads(site.asked("GET", f"{name}/manifests/{digest}")[1])["layers"]:
            registry.put_blob(name, one["digest"], b"never sent, as it is there", 1)
        assert {path: path.stat().st_mtime_ns for path in site.store.rglob("*")} == kept
        code, manifest = site.asked("GET", f"{name}/manifests/{digest}")
        assert (code, sha256(manifest)) == (200, digest)
        for one in (json.loads(manifest)["config"], *json.loads(manifest)["layers"]):
            code, blob = site.asked("GET", f"{name}/blobs/{one['digest']}")
            assert (code, sha256(blob), len(blob)) == (200, one["digest"], one["size"])
        code, beside = site.asked("GET", f"{name}/manifests/{tag(digest)}")
        assert (code, beside) == (200, bill_of(pause))
        assert json.loads(beside)["subject"]["digest"] == digest
        (layer,) = json.loads(beside)["layers"]
        assert site.asked("GET", f"{name}/blobs/{layer['digest']}") == (200, pause.bill.read_bytes())
        code, signed = site.asked("GET", f"{name}/manifests/{signature.tag(digest)}")
        found = signature.read(signed, lambda one: site.asked("GET", f"{name}/blobs/{one}")[1])
        site.office.trust().judge(found)
        signature.claimed(found, digest, sha256(beside))


def test_where_nodes_fetch_nobody_brings_anything(site: Site, pause: Built) -> None:
    name, digest = pause.report.name, pause.report.digest
    with site.taking(), site.serving(), site.registry() as registry:
        registry.promote(pause)
        for verb, path in (
            ("POST", f"{name}/blobs/uploads/"),
            ("PUT", f"{name}/manifests/{digest}"),
            ("DELETE", f"{name}/manifests/{digest}"),
            ("DELETE", f"{name}/blobs/{digest}"),
        ):
            assert site.asked(verb, path)[0] == 405, (verb, path)
        assert registry.complete(pause)
        with pytest.raises(ssl.SSLError):
            site.asked("GET", "", ssl.TLSVersion.TLSv1_2)


def test_what_is_not_of_its_digest_is_refused(site: Site, pause: Built, tmp_path: Path) -> None:
    layout = tmp_path / "tampered"
    shutil.copytree(pause.folder, layout)
    tampered = replace(pause, folder=layout)
    manifest = json.loads((layout / "layout/blobs" / pause.report.digest.replace(":", "/")).read_text())
    blob = layout / "layout/blobs" / manifest["layers"][0]["digest"].replace(":", "/")
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.write_bytes(content)
    with site.taking(), site.registry() as registry:
        with pytest.raises(UserError, match=r"the registry of qhdc \(qhdc-infra1\): it answered 400 .*DIGEST_INVALID"):
            registry.promote(tampered)
        assert not registry.complete(pause)
        assert registry.promote(pause)


def test_a_bill_that_is_not_the_image_s_is_put_right(site: Site, pause: Built, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(pause.folder, folder)
    other = replace(pause, folder=folder)
    other.bill.write_text("{}")
    with site.taking(), site.registry() as registry:
        assert registry.promote(other)
        assert not registry.complete(pause)
        brought, signed = registry.promote(pause)
        assert brought == "bill of materials brought"
        assert signed.startswith("signed (found a signature for the bill of materials sha256:")
        assert registry.complete(pause)


@pytest.fixture
def small(site: Site) -> Iterator[None]:
    """The store is on a disk of 64 KiB."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", site.store], check=True)
    yield
    subprocess.run(["umount", "--lazy", site.store], check=True)


def test_a_disk_without_room_is_said_before_anything_is_sent(site: Site, small: None, pause: Built) -> None:
    with site.taking(), site.registry() as registry:
        kept = sorted(site.store.rglob("*"))
        with pytest.raises(UserError) as refusal:
            registry.promote(pause)
        found = re.fullmatch(
            r"the registry of qhdc \(qhdc-infra1\): no room for pause@(\S+): found 0\.1 MB free of 0\.1 MB in "
            r"/var/lib/qhs-registry; wanted (\S+) MB\. Nothing was sent",
            refusal.value.what,
        )
        assert found and found[1] == pause.report.digest
        assert float(found[2]) >= pause.report.bytes / 1e6
        assert "`qhs images verify`" in refusal.value.way_out
        assert sorted(site.store.rglob("*")) == kept


def test_a_disk_that_becomes_full_meanwhile_leaves_nothing_that_a_node_would_fetch(
    site: Site, small: None, pause: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Registry, "room", lambda _: {"free": 10**12, "all": 10**12})
    name, digest = pause.report.name, pause.report.digest
    with site.taking(), site.serving(), site.registry() as registry:
        with pytest.raises(UserError, match=r"(?s)it answered 500 to P.*df /var/lib/qhs-registry"):
            registry.promote(pause)
        assert not registry.complete(pause)
        assert site.asked("GET", f"{name}/manifests/{digest}")[0] == 404
        assert site.asked("GET", f"{name}/tags/list")[0] == 404


def test_a_machine_that_does_not_say_how_much_room_it_has_is_named(site: Site, pause: Built) -> None:
    site.store.rename(site.root / "elsewhere")
    with (
        site.registry() as registry,
        pytest.raises(UserError, match=r"it does not say how much room it has: .*No such"),
    ):
        registry.room()


def test_nobody_there_is_said(site: Site, pause: Built) -> None:
    with site.registry() as registry, pytest.raises(UserError, match=r"it does not answer: .*take\.sock: No such file"):
        registry.promote(pause)


def test_what_is_not_signed_as_wanted_is_said_and_signed_anew(site: Site, pause: Built, tmp_path: Path) -> None:
    name, digest = pause.report.name, pause.report.digest
    at = f"{name}/manifests/{signature.tag(digest)}"
    stranger = Registry("qhdc", "qhdc-infra1", site.door, Office(tmp_path / "stranger").notary())
    with site.taking(), site.serving(), site.registry() as registry, stranger:
        assert registry.fault(name, digest) == f"found no image of the digest {digest}; wanted it"
        stranger.promote(pause)
        assert "did not sign" in registry.fault(name, digest)
        assert not registry.complete(pause)
        (signed,) = registry.promote(pause)
        assert "did not sign" in signed
        assert registry.complete(pause)
        assert site.office.asked == 1
        (link,) = site.store.rglob(f"tags/{signature.tag(digest)}/current/link")
        link.unlink()
        assert site.asked("GET", at)[0] == 404
        assert "found no signature; wanted one of" in registry.fault(name, digest)
        assert len(registry.promote(pause)) == 1
        (link,) = site.store.rglob(f"tags/{tag(digest)}/current/link")
        link.unlink()
        assert registry.fault(name, digest) == "found no bill of materials; wanted one"


def test_what_the_disk_gives_back_is_looked_at(site: Site, pause: Built) -> None:
    """A registry gives out what lies under a digest, whatever that is."""
    name, digest = pause.report.name, pause.report.digest
    with site.taking(), site.registry() as registry:
        registry.promote(pause)
        bill = sha256(pause.bill.read_bytes())
        (data,) = site.store.rglob(f"{bill.removeprefix('sha256:')}/data")
        kept = data.read_bytes()
        data.write_bytes(kept[:-1] + b"?")
        assert registry.fault(name, digest).endswith(f"wanted what has the digest {bill}")
        data.write_bytes(kept)
        assert registry.complete(pause)


def test_a_signer_that_gives_another_signature_gets_nothing_in(site: Site, pause: Built, tmp_path: Path) -> None:
    """What was fetched back is judged, not what was sent."""
    stranger = Office(tmp_path / "stranger")
    notary = replace(site.office.notary(), sign=stranger.sign)
    with (
        site.taking(),
        Registry("qhdc", "qhdc-infra1", site.door, notary) as registry,
        pytest.raises(UserError, match=r"fetched back, found one that .* did not sign"),
    ):
        registry.promote(pause)


def test_all_that_a_registry_tells_of_is_named(
    site: Site, pause: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By page, with what nobody has a recipe for, and what somebody else has tagged."""
    digest = pause.report.digest
    monkeypatch.setattr("qhs.containers.registry.PAGE", 1)
    monkeypatch.setattr(promotion, "registries", lambda *_: iter([site.registry()]))
    with site.taking():
        with site.registry() as registry:
            registry.promote(pause)
            registry.promote(replace(pause, report=replace(pause.report, name="other")))
        assert [(one.name, one.digest, one.fault) for one in promotion.found(Twin("one"), load("twin"))] == [
            ("other", digest, "found an image that nobody has a recipe for; wanted none"),
            ("pause", digest, ""),
        ]
        with site.registry() as registry:
            empty = signature.config(Office(tmp_path / "stranger").sign(b""))
            registry.put_blob("pause", sha256(empty), empty, len(empty))
            unsigned = json.dumps(
                {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, empty), "layers": []}
            ).encode()
            registry._put_manifest("pause", "latest", unsigned)
        said = {one.digest: one.fault for one in promotion.found(Twin("one"), load("twin")) if one.name == "pause"}
        assert said == {digest: "", sha256(unsigned): "found no bill of materials; wanted one"}
