"""The medium that installs one machine: started from it, the machine checks it, writes its disk, switches itself off.

It holds the machine's host key, so it is a secret until the machine has been installed.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path

from qhs.errors import UserError
from qhs.image.pool import digest
from qhs.lock import in_turn
from qhs.metal import disk, hardware, identity, workshop
from qhs.metal.hardware import Hardware
from qhs.progress import Progress
from qhs.twin.sshkey import make as make_key
from qhs.twin.sshkey import public
from qhs.twin.topology import File
from stacks.model import Estate

LABEL = "QHS"
"""The installer finds its medium by it."""
SIGNED_AS = "qhs-medium"
_BOOT_LOADER = "usr/lib/systemd/boot/efi/systemd-bootx64.efi.signed"


def folder() -> Path:
    """What a web server is to show to the controllers at the `media` of hardware.yaml."""
    return hardware.folder() / "media"


def make(estate: Estate, name: str, key: Path, progress: Progress) -> Path:
    """The medium of a machine, signed with the operator's SSH key, whose public half opens the machine. UserError."""
    cards = hardware.load().machine(name)
    signer = public(key)
    host_key = make_key(hardware.folder() / "machines" / name / "ssh_host_ed25519_key")
    files = identity.files(estate, name, cards, f"{signer}\n", host_key.read_text())
    made = disk.ensure(progress)
    root = made.image.path
    folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    desk = folder() / f".{name}"
    with in_turn(folder() / f".{name}.lock", f"medium of {name}", progress):
        shutil.rmtree(desk, ignore_errors=True)  # left by a run that was killed
        desk.mkdir(mode=0o700)
        progress(f"{name}: making its medium")
        _fill(desk / "medium", made.path, files)
        sign(desk / "medium", key)
        _start(root, desk / "esp", command_line((root / "etc/kernel/cmdline").read_text(), signer, cards))
        workshop.run(root, desk, _PRESS)
        (desk / "medium.iso").chmod(0o600)
        (desk / "medium.iso").rename(folder() / f"{name}.iso")
        shutil.rmtree(desk)
    _know(hardware.folder())
    return folder() / f"{name}.iso"


def command_line(installed: str, signer: str, cards: Hardware) -> str:
    """What the installer's kernel is told, on the consoles of the `installed` one; it takes no spaces in a value."""
    consoles = (word for word in installed.split() if word.startswith("console="))
    words = ["boot=qhs-install", *consoles, f"qhs.signer={signer.replace(' ', ',')}"]
    return " ".join([*words, *([f"qhs.disk={cards.disk}"] if cards.disk else [])])


def archive(files: Mapping[str, File]) -> bytes:
    """Files by absolute path as a tar archive, owned by root."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, file in sorted(files.items()):
            content = file.content.encode()
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.mode, entry.size = file.mode, len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def sign(medium: Path, key: Path) -> None:
    """Sign all files of a medium by ssh-keygen, which asks the operator's agent, or the operator, for what it needs."""
    names = sorted(path.name for path in medium.iterdir())
    sums = medium / "SHA256SUMS"
    sums.write_text("".join(f"{digest(medium / name)}  {name}\n" for name in names))
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", SIGNED_AS, "-f", str(key), str(sums)]
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    if done.returncode:
        raise UserError(f"ssh-keygen did not sign with {key}", "see what it said; take a key that is yours")


# The partition that firmware starts from is a file of the medium, as large as what is in it. Its size does not fit the
# catalogue's 16 bits, where 0 and 1 stand for all that follows.
_PRESS = f"""
size=$(( $(du -sk esp | cut -f1) + 4096 ))
mkfs.vfat -C medium/efi.img "$size"
mcopy -s -i medium/efi.img esp/* ::
xorriso -as mkisofs -quiet -V {LABEL} -r -e efi.img -no-emul-boot -boot-load-size 1 -o medium.iso medium
"""


def _fill(medium: Path, image: Path, files: Mapping[str, File]) -> None:
    medium.mkdir()
    shutil.copyfile(image, medium / disk.FILE)
    (medium / "identity.tar").write_bytes(archive(files))


def _start(root: Path, esp: Path, options: str) -> None:
    """The files of the partition that firmware starts from."""
    (esp / "EFI/BOOT").mkdir(parents=True)
    (esp / "loader/entries").mkdir(parents=True)
    shutil.copyfile(root / _BOOT_LOADER, esp / "EFI/BOOT/BOOTX64.EFI")
    for name, pattern in (("linux", "vmlinuz-*"), ("initrd", "initrd.img-*")):
        (kernel,) = (root / "boot").glob(pattern)
        shutil.copyfile(kernel, esp / name)
    entry = f"title install\nlinux /linux\ninitrd /initrd\noptions {options}\n"
    (esp / "loader/entries/install.conf").write_text(entry)


def _know(own: Path) -> None:
    """Write down the host key of every machine that has a medium, as ssh's UserKnownHostsFile wants it."""
    keys = sorted((own / "machines").glob("*/ssh_host_ed25519_key"))
    fresh = own / "known_hosts.new"
    fresh.write_text("".join(f"{key.parent.name} {public(key)}\n" for key in keys))
    fresh.rename(own / "known_hosts")
