"""A machine of `prod` that qemu emulates: firmware, a disk, a card, a drive over USB, and its power controller.

It has a network namespace to itself, where the operator stands too: nothing that it sends can leave this host.
"""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

from qhs.twin import endpoint, inside, redfish
from qhs.twin.names import NETNS_FOLDER, Twin
from tests.rack import Controller

CARD = "52:54:00:12:34:56"
CONTROLLER, MEDIA = ("127.0.0.1", 8443), ("127.0.0.1", 8080)
DISK_BYTES = 8 * 1024**3
FIRMWARE = Path("/usr/share/OVMF")


class Emulated:
    """The machine with its switch, and what its console has said."""

    def __init__(self, name: str, folder: Path, twin: Twin) -> None:
        self._name, self._twin = name, twin
        self.console, self.disk, self.medium = folder / "console", folder / "disk", folder / "medium.iso"
        self._memory = folder / "firmware"
        shutil.copyfile(FIRMWARE / "OVMF_VARS_4M.fd", self._memory)
        self.console.touch()
        with self.disk.open("wb") as disk:
            disk.truncate(DISK_BYTES)
        self._process: subprocess.Popen[bytes] | None = None
        self._starter = ThreadPoolExecutor(1)  # what a thread has started dies with it: a request's would be too short
        self.controller = Controller(self, "manager", self._fetch)

    def names(self) -> list[str]:
        return [self._name]

    def powered(self, name: str) -> bool:
        return self._process is not None and self._process.poll() is None

    def reset(self, name: str, how: str) -> None:
        if how != "On" and self._process:
            self._process.kill()
            self._process.wait()
        if how != "ForceOff" and not self.powered(name):
            self._process = self._starter.submit(self._start, self._qemu(first=self.controller.start())).result()

    def _start(self, argv: list[str]) -> subprocess.Popen[bytes]:
        with (self.console.parent / "qemu.log").open("ab") as said:
            mortal = inside.command(self._twin, ["setpriv", "--pdeathsig=KILL", *argv])
            return subprocess.Popen(mortal, stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def says(self, text: str, within: float) -> str:
        """The line of the console with `text`, once it is there."""
        deadline = time.monotonic() + within
        while True:
            lines = self.console.read_text(errors="replace").splitlines()
            if found := [line for line in lines if text in line]:
                return found[0]
            assert time.monotonic() < deadline, f"no {text!r} within {within} s; last: {lines[-15:]}"
            time.sleep(0.2)

    def _fetch(self, address: str) -> None:
        def fetch() -> None:
            with urlopen(address, timeout=60) as source, self.medium.open("wb") as target:  # noqa: S310 - hardware.yaml's http
                shutil.copyfileobj(source, target)

        inside.call(self._twin.netns_path(), fetch)

    def _qemu(self, first: bool) -> list[str]:
        """`first`: it starts from its drive."""
        drive = f"file={self.medium},if=none,id=cd,media=cdrom,readonly=on,format=raw"
        medium = ["-drive", drive, "-device", f"usb-storage,drive=cd,removable=on{',bootindex=0' if first else ''}"]
        return [
            # One processor: with more, the emulation runs code that another one is just patching, and Linux panics.
            *("qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1"),
            *("-m", "1536", "-display", "none", "-nodefaults", "-serial", f"file:{self.console}"),
            *("-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE / 'OVMF_CODE_4M.fd'}"),
            *("-drive", f"if=pflash,format=raw,file={self._memory}"),
            *("-drive", f"file={self.disk},if=none,id=disk,format=raw,cache=unsafe"),
            *("-device", "ide-hd,drive=disk,bus=ide.0,bootindex=1", "-device", "qemu-xhci"),
            *(medium if self.controller.image else []),
            *("-netdev", "tap,id=net,ifname=mgmt,script=no,downscript=no"),
            *("-device", f"e1000e,netdev=net,mac={CARD}"),
        ]


@contextmanager
def network(twin: Twin, operator: str) -> Iterator[None]:
    """The twin's namespace, without a twin: the machine's wire, with the operator's address at the other end of it."""
    ip = ["ip", "-n", twin.netns]
    subprocess.run(["ip", "netns", "add", twin.netns], check=True)
    try:
        for words in (
            "link set lo up",
            "tuntap add dev mgmt mode tap",
            f"address add {operator} dev mgmt",
            "link set mgmt up",
        ):
            subprocess.run([*ip, *words.split()], check=True)
        assert NETNS_FOLDER.joinpath(twin.netns).exists()
        yield
    finally:
        subprocess.run(["ip", "netns", "delete", twin.netns], check=True)


@contextmanager
def served(twin: Twin, machine: Emulated, media: Path) -> Iterator[None]:
    """Its controller and the operator's media, on the namespace's loopback."""
    twin.endpoint.mkdir(parents=True)
    endpoint.certify(twin, [CONTROLLER[0]])
    endpoint.password(twin).write_text("right")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(endpoint.certificate(twin), endpoint.key(twin))
    handle = redfish.handler(machine.controller.answer, redfish.password_is(endpoint.USER, "right"))
    files = partial(SimpleHTTPRequestHandler, directory=str(media))
    servers: list[ThreadingHTTPServer] = inside.call(
        twin.netns_path(), lambda: [redfish.Server(*CONTROLLER, handle, tls), ThreadingHTTPServer(MEDIA, files)]
    )
    for server in servers:
        threading.Thread(target=server.serve_forever).start()
    try:
        yield
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        machine.reset("", "ForceOff")
