"""`make env` and `make host`: two at once take turns, and what is missing is installed.

The programs that would fetch from the network are stand-ins here, which write down when they ran and with what; `make
up` and CI run the true ones.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from qhs.folders import CLONE
from qhs.image.recipe import KEYRING

SLOW = """#!/bin/sh
echo "begins $$" >>"{log}"
[ "$1" != venv ] || {{ sleep 0.5; mkdir -p .venv; }}
echo "ends $$" >>"{log}"
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that the scripts read, in a folder of their own."""
    for name in ("scripts/env.sh", "scripts/host.sh", "scripts/setup.sh", "scripts/uv.lock", "requirements.lock",
                 "pyproject.toml"):  # fmt: skip
        (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CLONE / name, tmp_path / "clone" / name)
    return tmp_path / "clone"


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def test_two_at_once_take_turns_and_the_second_finds_it_made(clone: Path, tmp_path: Path) -> None:
    log, cache = tmp_path / "log", tmp_path / "cache"
    key = hashlib.sha256((CLONE / "scripts" / "uv.lock").read_bytes()).hexdigest()[:16]
    _program(cache / "qhs" / f"uv-{key}" / "bin" / "uv", SLOW.format(log=log))
    environ = os.environ | {"XDG_CACHE_HOME": str(cache)}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen([clone / "scripts" / "env.sh"], env=environ, stdout=subprocess.PIPE, text=True)

    first = start()
    end = time.monotonic() + 20
    while not log.exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    second = start()
    said = second.communicate(timeout=20)[0]
    assert first.wait(20) == second.returncode == 0
    assert said == f"env: waiting for pid {first.pid}, which is setting this host up\n"
    marks = [line.split()[0] for line in log.read_text().splitlines()]
    assert marks == ["begins", "ends"] * 3, "uv ran thrice for the first, one after the other, and never for the second"


@pytest.mark.parametrize(
    ("words", "wanted"), [([], {"debian-archive-keyring"}), (["soak"], {"debian-archive-keyring", "ovmf"})]
)
def test_what_a_host_lacks_is_installed_and_no_more_than_is_needed(
    clone: Path, tmp_path: Path, words: list[str], wanted: set[str]
) -> None:
    """In a mount namespace where Debian's keys are missing, as they are on Ubuntu, and the firmware of a soak."""
    log = tmp_path / "log"
    _program(tmp_path / "bin" / "apt-get", f'#!/bin/sh\necho "$@" >>"{log}"\n')
    found = "mmdebstrap systemd-nspawn nft ssh ip strace apt-ftparchive pdfsig umoci qemu-system-x86_64 faketime"
    for name in found.split():
        _program(tmp_path / "bin" / name, "#!/bin/sh\n")
    hidden = f'for it in {KEYRING.parent} /usr/share/OVMF; do [ ! -d $it ] || mount -t tmpfs none $it; done; exec "$@"'
    script = [str(clone / "scripts" / "host.sh"), *words]
    command = ["unshare", "--map-root-user", "--mount", "sh", "-euc", hidden, "sh", *script]
    environ = os.environ | {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("host: installing ")
    assert set(done.stdout.split()[2:]) == wanted
    update, install = log.read_text().splitlines()
    assert update.endswith("update")
    assert wanted <= set(install.split())
    assert all("DPkg::Lock::Timeout=120" in line for line in (update, install))
