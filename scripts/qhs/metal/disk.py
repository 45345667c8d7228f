"""The disk image of a machine of metal: root and boot loader, in the partitions that images/machine/metal describes."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from qhs import image as images
from qhs.image import Image, recipe
from qhs.lock import in_turn
from qhs.metal import workshop
from qhs.progress import Progress

FILE = "disk.raw.zst"


@dataclass(frozen=True)
class Disk:
    """What is written to a machine's disk, compressed; the boot loader and the kernel are also of its `image`."""

    image: Image
    path: Path
    bytes: int
    """Compressed, as it is stored."""
    seconds: float


def ensure(progress: Progress) -> Disk:
    """The disk image, made where the cache lacks it. Raises UserError."""
    started = time.monotonic()
    image = images.ensure(progress, recipe.metal())
    place = image.path.parent
    path = place / FILE
    with in_turn(place / "disk.lock", "disk image", progress):
        if not path.is_file():
            progress("disk image: filling its partitions (about 60 s)")
            _make(image, place / "desk")
            (place / "desk" / FILE).rename(path)
            shutil.rmtree(place / "desk")
    return Disk(image, path, path.stat().st_size, round(time.monotonic() - started, 1))


def _make(image: Image, desk: Path) -> None:
    shutil.rmtree(desk, ignore_errors=True)  # left by a run that was killed
    desk.mkdir()
    workshop.run(
        image.path,
        desk,
        f"""
        systemd-repart --dry-run=no --empty=create --size=auto --offline=yes --seed={uuid5(NAMESPACE_URL, image.key)} \\
          --copy-source=/media --definitions=/media/usr/lib/repart.d disk.raw
        zstd -q --threads=0 disk.raw -o {FILE}
        """,
    )
