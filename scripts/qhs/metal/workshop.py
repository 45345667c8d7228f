"""Work done with an image's own programs, so that this host needs none of them and its versions do not matter."""

from __future__ import annotations

import subprocess
from pathlib import Path

from qhs.image.build import ALONE

# The root is seen as it is, read-only and without what is mounted over it, at /media; the desk at /mnt.
_INSIDE = """
root=$1 desk=$2
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount --bind "$root" "$root/media"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount --bind "$desk" "$root/mnt"
exec chroot "$root" sh -euc "cd /mnt; $3"
"""


def run(root: Path, desk: Path, script: str) -> None:
    """Run a script within `root`, in the folder `desk`; nothing else can be written. Raises CalledProcessError."""
    command = [*ALONE, "sh", "-euc", _INSIDE, "sh", str(root), str(desk), script]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TMPDIR": "/mnt"}
    subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
