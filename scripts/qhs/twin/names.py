"""How the things of a twin are called on the host, in one place, so that `down` finds all."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from qhs import folders
from qhs.errors import UserError

NETNS_FOLDER = Path("/run/netns")
"""Where iproute2 keeps the names of network namespaces."""


@dataclass(frozen=True)
class Twin:
    """One twin by its name; several can stand side by side."""

    name: str

    @classmethod
    def here(cls) -> "Twin":
        """The twin that QHS_TWIN names (default `twin`)."""
        name = os.environ.get("QHS_TWIN") or "twin"
        if not re.fullmatch(r"[a-z0-9]{1,20}", name):
            raise UserError(f"QHS_TWIN is {name!r}", "take a name of 1 to 20 lower-case letters and digits")
        return cls(name)

    @property
    def netns(self) -> str:
        """The network namespace that holds the bridges."""
        return f"qhs-{self.name}"

    @property
    def cgroup(self) -> str:
        """The control group, in every hierarchy, that holds a group for each machine."""
        return f"qhs-{self.name}"

    @property
    def state(self) -> Path:
        return folders.state() / self.name

    @property
    def lock(self) -> Path:
        """Beside the state folder, so that it outlives it."""
        return folders.state() / f"{self.name}.lock"

    @property
    def standing(self) -> Path:
        """What the last `up` made it."""
        return self.state / "standing.json"

    @property
    def applied(self) -> Path:
        """What the last `qhs up` brought where."""
        return self.state / "applied.json"

    @property
    def cuts(self) -> Path:
        """Which wires are cut on purpose."""
        return self.state / "cuts.json"

    @property
    def upgrades(self) -> Path:
        """The folder of what is under way at control planes, by site."""
        return self.state / "upgrades"

    @property
    def endpoint(self) -> Path:
        """The folder of the power endpoint: password, certificate, key, log."""
        return self.state / "redfish"

    @property
    def up_lock(self) -> Path:
        """Held by `qhs up` and `qhs down` as a whole; `lock` only while machines come and go."""
        return folders.state() / f"{self.name}.up.lock"

    def client_netns(self, client: str) -> str:
        return f"{self.netns}.{client}"

    def client_of(self, netns: str) -> str | None:
        """The client whose namespace is called `netns`."""
        prefix = f"{self.netns}."
        return netns.removeprefix(prefix) if netns.startswith(prefix) else None

    def netns_path(self, client: str | None = None) -> Path:
        return NETNS_FOLDER / (self.client_netns(client) if client else self.netns)

    def machine(self, name: str) -> "MachinePaths":
        return MachinePaths(self.state / "machines" / name)

    def machines(self) -> list[str]:
        """The machines that have a disk."""
        folder = self.state / "machines"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


@dataclass(frozen=True)
class MachinePaths:
    """The files that make up one machine on the host."""

    folder: Path

    @property
    def upper(self) -> Path:
        """Its disk: what differs from the image."""
        return self.folder / "disk" / "upper"

    @property
    def work(self) -> Path:
        return self.folder / "disk" / "work"

    @property
    def containers(self) -> Path:
        """What containers on it are made of: an overlay cannot lie over its disk, which is one."""
        return self.folder / "disk" / "containers"

    @property
    def root(self) -> Path:
        """Where its root is mounted, in a mount namespace that no one else sees."""
        return self.folder / "root"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @property
    def record(self) -> Path:
        return self.folder / "machine.json"

    @property
    def host_key(self) -> Path:
        return self.folder / "ssh_host_ed25519_key"


def twins() -> list[str]:
    """The network namespaces of all twins on this host, clients' included."""
    return [path.name for path in NETNS_FOLDER.glob("qhs-*")]


def port(place: str, interface: str) -> str:
    """The bridge's end of a leg: short enough for Linux; its alias tells a person more."""
    return "p" + hashlib.sha256(f"{place}/{interface}".encode()).hexdigest()[:12]
