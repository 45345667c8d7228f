"""What the image is made of: data under images/machine, and the key that these inputs give it."""

import functools
import hashlib
import shlex
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from qhs.folders import CLONE
from qhs.image import lock
from qhs.image.lock import Package
from qhs.tools import spec

SUITE = "trixie"
"""Debian 13."""

AUTOMATION_USER = "qhs"
"""The account that Ansible logs in as; root does not log in."""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

FOLDER = CLONE / "images" / "machine"

METAL = "metal"
"""What packages.yaml and units.yaml call that which an image has more where it runs on metal."""

# The boot loader's partition is a folder of the tree until there is a disk, so its entries name files from the root
# instead of from it. A seed of random numbers would be one for all machines; each makes its own at its first boot.
_BOOTABLE = """
export SYSTEMD_ESP_PATH=/boot/efi SYSTEMD_RELAX_ESP_CHECKS=1
mkdir -p "$root"/boot/efi
chroot "$root" bootctl install --no-variables --make-entry-directory=no
for kernel in "$root"/boot/vmlinuz-*; do
  version=${kernel#*/vmlinuz-}
  chroot "$root" kernel-install add "$version" "/boot/vmlinuz-$version" "/boot/initrd.img-$version"
done
sed -i "s,/boot/efi/,/," "$root"/boot/efi/loader/entries/*.conf
rm -f "$root"/boot/efi/loader/random-seed
"""

BUILT = "tools/"
"""What programs.yaml has before the name of a tool of scripts/tools."""

PACKED = "containers/"
"""And before that of an image of images/containers."""

# Documentation and translations are half of a small Debian, and nobody reads them on a machine of the estate; nor does
# anybody's browser reach the pages that come with the store of metrics.
LEFT_OUT = ("doc", "man", "info", "locale", "lintian", "fonts", "javascript", "nodejs", "sass")


@dataclass(frozen=True)
class Recipe:
    """The inputs of one image."""

    name: str
    packages: tuple[str, ...]
    enabled: tuple[str, ...]
    disabled: tuple[str, ...]
    masked: tuple[str, ...]
    rootfs: Path
    programs: tuple[tuple[str, str], ...]
    """What is no Debian package: its place in the image, and in the wheels."""
    built: tuple[tuple[str, str], ...]
    """What is built from source: its place in the image, and the tool that it is of."""
    packed: tuple[tuple[str, str], ...]
    """Archives of container images: their place in the image, and their names."""
    wheels: Path
    """The lock of these wheels, with their hashes."""
    lock: Path
    """What was built last, by Debian's name of the architecture; the next build takes the same where it can."""
    below: Path | None = None
    """The lock of the image that this one has more packages than; its own lock names these alone."""
    first: tuple[Path, ...] = ()
    """Files that are there before the packages: settings of what a package makes as it is installed."""
    finish: str = ""
    """What else the last step does, in the same words as the rest of it."""

    @property
    def pins(self) -> dict[str, Package]:
        """The lock, by package."""
        return (lock.read(self.below) if self.below else {}) | lock.read(self.lock)

    @property
    def wanted(self) -> tuple[str, ...]:
        """What apt is asked for."""
        return ("?essential", "apt", *self.packages)

    def keep(self, chosen: Iterable[Package]) -> None:
        """Write the lock for these packages."""
        known = lock.read(self.below) if self.below else {}
        lock.write(self.lock, (one for one in chosen if known.get(one.name) != one))

    def arguments(self) -> list[str]:
        """What mmdebstrap is told, but for places on this host."""
        return [
            *("--mode=root", "--format=directory", "--variant=apt"),
            f"--include={','.join(self.packages)}",
            '--aptopt=APT::Install-Recommends "false"',
            *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in LEFT_OUT),
            # Licences go with what they are for, and into the bill of materials.
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        ]

    def prepare(self) -> str:
        """A step before any package but the essential ones, a script that gets the new root as $1."""
        laid = "\n".join(map(_copy, self.first))
        return f"""#!/bin/sh
set -eu
{laid}
if [ -d "$1"/etc/initramfs-tools/hooks ]; then chmod 0755 "$1"/etc/initramfs-tools/hooks/*; fi
"""

    def customize(self) -> str:
        """The last step, a script that gets the new root as $1: what no package says about our machines."""
        return f"""#!/bin/sh
set -eu
root=$1
{_copy(self.rootfs)}
chmod 0440 "$root"/etc/sudoers.d/10-qhs
chroot "$root" useradd --system --create-home --shell /bin/bash {AUTOMATION_USER}
chroot "$root" systemctl --quiet enable {" ".join(self.enabled)}
chroot "$root" systemctl --quiet disable {" ".join(self.disabled)}
chroot "$root" systemctl --quiet mask {" ".join(self.masked)}
chroot "$root" systemctl --quiet set-default multi-user.target
{self.finish}
# Identity is given to each machine, never inherited; nor is the address of a mirror.
rm -f "$root"/etc/ssh/ssh_host_* "$root"/etc/hostname "$root"/etc/resolv.conf
rm -f "$root"/etc/ssl/private/ssl-cert-snakeoil.key "$root"/etc/ssl/certs/ssl-cert-snakeoil.pem
find "$root"/etc/ssl/certs -lname ssl-cert-snakeoil.pem -delete
rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/cache/debconf/*-old
: > "$root"/etc/machine-id
"""

    def key(self, architecture: str) -> str:
        """A short name that changes when, and only when, something changes that the image is built from."""
        folders = [self.rootfs, *self.first]
        scripts = [self.customize(), self.prepare()]
        for folder in folders:
            scripts = [script.replace(str(folder), folder.name) for script in scripts]
        locked = [path.read_text() if path and path.is_file() else "" for path in (self.lock, self.below, self.wheels)]
        laid = [f"{place} {source}" for place, source in (*self.programs, *self.built, *self.packed)]
        locked += [path.read_text() for tool in sorted({tool for _, tool in self.built}) for path in _sources(tool)]
        from qhs.containers import recipe as containers  # noqa: PLC0415 -- it is made of words of this module

        locked += [containers.load(name).key() for _, name in self.packed]
        inputs = (SUITE, architecture, *self.arguments(), *scripts, *locked, *laid)
        digest = hashlib.sha256("\0".join(inputs).encode())
        for folder in folders:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                content = path.read_bytes()
                digest.update(f"\0{path.relative_to(folder)} {len(content)}\0".encode() + content)
        return digest.hexdigest()[:16]


def _copy(folder: Path) -> str:
    """Lay a folder's files over the root: owned by root, and of no mode that a clone happens to give them."""
    return f'cp -R --no-preserve=ownership,mode {shlex.quote(str(folder))}/. "$1"/'


@functools.cache
def architecture() -> str:
    """Debian's name for this host's."""
    return subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()


def load(folder: Path = FOLDER) -> Recipe:
    """The recipe of the golden image; a package that two roles need is named by both and taken once."""
    roles, units = _read(folder)
    del roles[METAL]
    laid = _programs(folder)
    return Recipe(
        name="machine",
        packages=_named(roles),
        enabled=tuple(sorted(units["enabled"])),
        disabled=tuple(sorted(units["disabled"])),
        masked=tuple(sorted(units["masked"])),
        rootfs=folder / "rootfs",
        programs=tuple(one for one in laid if not one[1].startswith((BUILT, PACKED))),
        built=_of(laid, BUILT),
        packed=_of(laid, PACKED),
        wheels=folder / "programs.lock",
        lock=folder / f"{architecture()}.lock",
        first=(folder / "first",),
    )


def metal(folder: Path = FOLDER) -> Recipe:
    """The golden image with a kernel and a boot loader."""
    golden = load(folder)
    roles, units = _read(folder)
    return replace(
        golden,
        name=METAL,
        packages=_named(roles),
        masked=tuple(unit for unit in golden.masked if unit not in units[METAL]),
        lock=golden.lock.with_suffix(f".{METAL}.lock"),
        below=golden.lock,
        first=(*golden.first, folder / METAL),
        finish=_BOOTABLE,
    )


def _read(folder: Path) -> tuple[dict[str, list[str]], dict[str, Any]]:
    return (yaml.safe_load((folder / "packages.yaml").read_text()), yaml.safe_load((folder / "units.yaml").read_text()))


def _programs(folder: Path) -> tuple[tuple[str, str], ...]:
    roles = yaml.safe_load((folder / "programs.yaml").read_text())
    return tuple(sorted((place, source) for programs in roles.values() for place, source in programs.items()))


def _of(laid: tuple[tuple[str, str], ...], kind: str) -> tuple[tuple[str, str], ...]:
    return tuple((place, source.removeprefix(kind)) for place, source in laid if source.startswith(kind))


def _sources(tool: str) -> list[Path]:
    return sorted(path for path in spec.load(tool).folder.rglob("*") if path.is_file())


def _named(roles: dict[str, list[str]]) -> tuple[str, ...]:
    return tuple(sorted({package for packages in roles.values() for package in packages}))
