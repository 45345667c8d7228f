"""What the image is made of: data under images/machine, and the key that these inputs give it."""

import hashlib
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from qhs.folders import CLONE
from qhs.image import lock
from qhs.image.lock import Package

SUITE = "trixie"
"""Debian 13."""

AUTOMATION_USER = "qhs"
"""The account that Ansible logs in as; root does not log in."""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

FOLDER = CLONE / "images" / "machine"

# Documentation and translations are half of a small Debian, and nobody reads them on a machine of the estate; nor does
# anybody's browser reach the pages that come with the store of metrics.
_LEFT_OUT = ("doc", "man", "info", "locale", "lintian", "fonts", "javascript", "nodejs", "sass")


@dataclass(frozen=True)
class Recipe:
    """The inputs of one image."""

    packages: tuple[str, ...]
    enabled: tuple[str, ...]
    disabled: tuple[str, ...]
    masked: tuple[str, ...]
    rootfs: Path
    lock: Path
    """What was built last, by Debian's name of the architecture; the next build takes the same where it can."""

    @property
    def pins(self) -> dict[str, Package]:
        """The lock, by package."""
        return lock.read(self.lock)

    def arguments(self) -> list[str]:
        """What mmdebstrap is told, but for places on this host."""
        return [
            *("--mode=root", "--format=directory", "--variant=apt"),
            f"--include={','.join(self.packages)}",
            '--aptopt=APT::Install-Recommends "false"',
            *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in _LEFT_OUT),
            # Licences go with what they are for, and into the bill of materials.
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        ]

    def customize(self) -> str:
        """The last step, a script that gets the new root as $1: what no package says about our machines."""
        return f"""#!/bin/sh
set -eu
root=$1
cp -R --no-preserve=ownership,mode {shlex.quote(str(self.rootfs))}/. "$root"/
chmod 0440 "$root"/etc/sudoers.d/10-qhs
chroot "$root" useradd --system --create-home --shell /bin/bash {AUTOMATION_USER}
chroot "$root" systemctl --quiet enable {" ".join(self.enabled)}
chroot "$root" systemctl --quiet disable {" ".join(self.disabled)}
chroot "$root" systemctl --quiet mask {" ".join(self.masked)}
chroot "$root" systemctl --quiet set-default multi-user.target
# Identity is given to each machine, never inherited; nor is the address of a mirror.
rm -f "$root"/etc/ssh/ssh_host_* "$root"/etc/hostname "$root"/etc/resolv.conf
rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/cache/debconf/*-old
: > "$root"/etc/machine-id
"""

    def key(self, architecture: str) -> str:
        """A short name that changes when, and only when, something changes that the image is built from."""
        script = self.customize().replace(str(self.rootfs), "rootfs")
        locked = self.lock.read_text() if self.lock.is_file() else ""
        digest = hashlib.sha256("\0".join((SUITE, architecture, *self.arguments(), script, locked)).encode())
        for path in sorted(path for path in self.rootfs.rglob("*") if path.is_file()):
            content = path.read_bytes()
            digest.update(f"\0{path.relative_to(self.rootfs)} {len(content)}\0".encode() + content)
        return digest.hexdigest()[:16]


def _architecture() -> str:
    """Debian's name for this host's."""
    return subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()


def load(folder: Path = FOLDER) -> Recipe:
    """Read the recipe; a package that two roles need is named by both and taken once."""
    roles: dict[str, list[str]] = yaml.safe_load((folder / "packages.yaml").read_text())
    units = yaml.safe_load((folder / "units.yaml").read_text())
    return Recipe(
        packages=tuple(sorted({package for packages in roles.values() for package in packages})),
        enabled=tuple(sorted(units["enabled"])),
        disabled=tuple(sorted(units["disabled"])),
        masked=tuple(sorted(units["masked"])),
        rootfs=folder / "rootfs",
        lock=folder / f"{_architecture()}.lock",
    )
