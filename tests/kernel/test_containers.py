"""Container images, built for real: one digest, what they hold and no more, a bill of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from qhs import folders
from qhs.containers import Built, ensure, recipe
from qhs.containers.build import TAG
from qhs.errors import UserError


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> list[Built]:
    """The image of pods' own process, built in two places from the same packages."""
    packages = folders.cache() / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    built = []
    for name in ("one", "other"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp(name)))
            folders.cache().mkdir(parents=True)
            (folders.cache() / "packages").symlink_to(packages)
            built.append(ensure("pause", lambda _: None))
            assert ensure("pause", lambda _: None).how == "cached"
    return built


def test_two_builds_give_one_image(twice: list[Built]) -> None:
    one, other = twice
    assert (one.how, other.how) == ("built", "built")
    assert one.report == other.report
    assert one.report.digest.startswith("sha256:")
    assert one.bill.read_text() == other.bill.read_text()


def test_it_holds_what_was_named_and_runs_as_nobody(twice: list[Built], tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    subprocess.run(["umoci", "unpack", "--image", f"{twice[0].layout}:{TAG}", bundle], check=True, capture_output=True)
    process = json.loads((bundle / "config.json").read_text())["process"]
    assert process["args"] == ["/usr/bin/catatonit", "-P"]
    assert (process["user"]["uid"], process["user"]["gid"]) == (recipe.NOBODY, recipe.NOBODY)
    files = {str(path.relative_to(bundle / "rootfs")) for path in (bundle / "rootfs").rglob("*") if path.is_file()}
    assert files == {"usr/bin/catatonit", "usr/libexec/podman/catatonit", "usr/share/doc/catatonit/copyright"}
    command = ["/usr/sbin/chroot", f"--userspec={recipe.NOBODY}:{recipe.NOBODY}", bundle / "rootfs"]
    said = subprocess.run([*command, "/usr/bin/catatonit", "--version"], check=True, capture_output=True, text=True)
    assert "catatonit" in said.stdout


def test_its_bill_names_each_package_with_the_digest_that_the_lock_has(twice: list[Built]) -> None:
    bill = json.loads(twice[0].bill.read_text())
    assert bill["metadata"]["component"]["hashes"][0]["content"] == twice[0].report.digest.removeprefix("sha256:")
    told = {(it["name"], it["version"], it["hashes"][0]["content"]) for it in bill["components"]}
    assert told == {(one.name, one.version, one.sha256) for one in recipe.load("pause").pins.values()}


def test_what_changes_what_it_is_made_of_changes_its_key(tmp_path: Path) -> None:
    folder = tmp_path / "pause"
    folder.mkdir()
    text = (recipe.FOLDER / "pause/image.yaml").read_text()
    keys = []
    for name, content in (
        ("image.yaml", text),
        ("image.yaml", text + "user: 1000\n"),
        (recipe.load("pause").lock.name, "catatonit 1 amd64 00\n"),
        ("rootfs/etc/motd", "hello\n"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
        keys.append(recipe.load("pause", tmp_path).key())
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("other", "", "found no"),
        ("pause", "packages: []\nentrypoint: [/x]\n", "packages: Tuple should have at least 1 item"),
        ("pause", "packages: [a]\nentrypoint: [/x]\nuser: 0\n", "user: Input should be greater than or equal to 1"),
        ("pause", "packages: [a]\nentrypoint: [/x]\nshell: sh\n", "shell: Extra inputs are not permitted"),
    ],
)
def test_bad_input_is_refused_by_its_place(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / "pause").mkdir()
    (tmp_path / "pause" / "image.yaml").write_text(text)
    with pytest.raises(UserError, match=says):
        recipe.load(name, tmp_path)
