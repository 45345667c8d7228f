"""Hosts of an HSM for `qhs_hsm.py`: roots of the machine image with a SoftHSM device each."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from stacks.model import load

ROLES = Path(__file__).parents[2] / "roles"
LIBRARY = "usr/local/lib/qhs-hsm"
DEVICE = load("twin").inventory.hsm
TOKENS = DEVICE.soft_tokens.lstrip("/")
USER = 990
TOKEN = {"token": "ky-so", "pin": "pin-of-the-user-1"}
OFFICER = {"token": "ky-so", "so_pin": "pin-of-the-officer-1"}


class HsmHost:
    """A root of its own over the image's, in which the API is asked as its user."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for place in (LIBRARY, "etc/qhs/hsm"):
            (self.root / place).mkdir(parents=True)
        for program in (path for role in ("hsm", "unseal") for path in (ROLES / role / "files").glob("*.py")):
            shutil.copy(program, self.root / LIBRARY)
        (self.root / "etc/qhs/hsm/module.json").write_text(DEVICE.model_dump_json())
        settings = (ROLES / "softhsm/templates/etc/qhs/hsm/softhsm2.conf.j2").read_text()
        settings = settings.replace("{{ hsm_soft_tokens }}", DEVICE.soft_tokens)
        (self.root / "etc/qhs/hsm/softhsm2.conf").write_text(settings)
        for place in ("run/qhs-hsm", TOKENS):
            (self.root / place).mkdir(mode=0o700)
            shutil.chown(self.root / place, USER, USER)

    @classmethod
    @contextmanager
    def at(cls, folder: Path, image: Path) -> Iterator[HsmHost]:
        """Until the block ends."""
        for name in ("root", "upper", "work"):
            (folder / name).mkdir(parents=True)
        layers = f"lowerdir={image},upperdir={folder}/upper,workdir={folder}/work"
        subprocess.run(["mount", "-t", "overlay", "none", "-o", layers, folder / "root"], check=True)
        try:
            yield cls(folder / "root")
        finally:
            subprocess.run(["umount", "--lazy", folder / "root"], check=True)

    def command(self, *words: str) -> list[str]:
        ids = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"]
        return ["/usr/sbin/chroot", str(self.root), "setpriv", *ids, "/usr/bin/python3", *words]

    def start(self, verb: str, **given: str) -> subprocess.Popen[str]:
        asking = subprocess.Popen(
            self.command(f"/{LIBRARY}/qhs_hsm.py"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={"SSH_ORIGINAL_COMMAND": verb},
        )
        assert asking.stdin
        asking.stdin.write(json.dumps(given))
        asking.stdin.close()
        return asking

    def answer(self, asking: subprocess.Popen[str]) -> dict[str, Any]:
        assert asking.stdout
        assert asking.stderr
        said, complaint = asking.stdout.read(), asking.stderr.read()
        code = asking.wait(60)
        assert complaint == ""
        found: dict[str, Any] = json.loads(said)
        assert said.count("\n") == 1
        assert code == ("error" in found)
        return found

    def ask(self, verb: str, **given: str) -> dict[str, Any]:
        """As over SSH."""
        return self.answer(self.start(verb, **given))

    def done(self, verb: str, **given: str) -> dict[str, Any]:
        found = self.ask(verb, **given)
        assert "error" not in found, found
        return found

    def refused(self, verb: str, **given: str) -> tuple[str, str]:
        error = self.ask(verb, **given)["error"]
        return str(error["code"]), str(error["message"])

    def delete(self, token: str) -> None:
        """As whoever sits at the host does."""
        self.by_hand(f"import subprocess; subprocess.run(['softhsm2-util', '--delete-token', '--token', '{token}'])")

    def by_hand(self, script: str) -> str:
        """What a script says that has the user's rights and the PIN, as an intruder in the signer has."""
        before = f"import sys; sys.path.insert(0, '/{LIBRARY}')\n"
        done = subprocess.run(
            self.command("-c", before + script),
            capture_output=True,
            text=True,
            check=False,
            env=DEVICE.environment | {"PIN": TOKEN["pin"]},
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def standing(names: list[str], folder: Path, image: Path) -> Iterator[dict[str, HsmHost]]:
    """Hosts by name, until the block ends."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(HsmHost.at(folder / name, image)) for name in names}


def join(domain: HsmHost, name: str, other: HsmHost) -> None:
    """Let another device into the domain of one that has its key."""
    public = other.done("transport", **TOKEN)["public"]
    domain.done("trust", **OFFICER, device_name=name, public=public)
    other.done("take-kek", **TOKEN, wrapped=domain.done("kek-for", **TOKEN, device_name=name)["wrapped"])
