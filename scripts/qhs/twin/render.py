"""What a machine must find on its disk to come up as itself."""

import hashlib
from ipaddress import ip_interface

from qhs.image.recipe import AUTOMATION_USER
from qhs.twin.topology import File, Leg, Machine

_LEND = "/usr/local/sbin/qhs-lend"
_LENDING = f"""# What only a twin needs before containers run.
[Service]
ExecStartPre={_LEND}
"""
# The agent of a node refuses a kernel that is set otherwise. It has no setting of its own here, and the host's stay
# what they are: a file in its place says what a kernel of the node's own would.
_LENDS = """#!/bin/sh
set -eu
for group in /sys/fs/cgroup/*; do
  if mountpoint -q "$group"; then mount -o remount,bind,rw "$group"; fi
done
for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
  name=${setting%=*}
  if mountpoint -q "/proc/sys/$name"; then continue; fi
  mkdir -p "/run/qhs-lend/${name%/*}"
  echo "${setting#*=}" >"/run/qhs-lend/$name"
  mount --bind "/run/qhs-lend/$name" "/proc/sys/$name"
done
"""


def identity(twin: str, machine: Machine, operator_key: str, host_key: str) -> dict[str, File]:
    """The files, by absolute path, that the twin itself owns on `machine`; keys in OpenSSH's format."""
    files = {
        "/etc/hostname": File(content=f"{machine.name}\n"),
        "/etc/hosts": File(content=f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {machine.name}\n"),
        # Given, not drawn at boot: an empty one would make systemd reset every unit to its vendor's preset.
        "/etc/machine-id": File(content=f"{_machine_id(twin, machine.name)}\n", mode=0o444),
        "/etc/ssh/ssh_host_ed25519_key": File(content=host_key, mode=0o600),
        f"/etc/ssh/authorized_keys.d/{AUTOMATION_USER}": File(content=operator_key),
        "/etc/sysctl.d/60-machine.conf": File(content=_sysctl(machine)),
    }
    if machine.containers:
        files[_LEND] = File(content=_LENDS, mode=0o755)
        files["/etc/systemd/system/containerd.service.d/10-lend.conf"] = File(content=_LENDING)
    for number, leg in enumerate(machine.legs, start=10):
        files[f"/etc/systemd/network/{number}-{leg.interface}.network"] = File(content=network(machine, leg))
    return files


def network(machine: Machine, leg: Leg) -> str:
    """The networkd file of one leg: static, deaf to routers, and no waiting for duplicate addresses."""
    lines = [
        "[Match]",
        f"Name={leg.interface}",
        "",
        "[Network]",
        # VRRP for IPv6 speaks from the link-local address.
        "LinkLocalAddressing=ipv6",
        "IPv6AcceptRA=no",
        "IPv6DuplicateAddressDetection=0",
        "LLDP=no",
        "EmitLLDP=no",
        # A cable that is out takes no address away: those that the members of a pair share would not come back with it.
        "IgnoreCarrierLoss=yes",
    ]
    for address in leg.addresses:
        lines += ["", "[Address]", f"Address={address}"]
        if ip_interface(address).version == 6:  # noqa: PLR2004 -- the protocol's own number
            lines.append("DuplicateAddressDetection=none")
    for route in machine.routes:
        if machine.leg_towards(route) == leg:
            lines += ["", "[Route]", f"Destination={route.destination}", f"Gateway={route.via}"]
    return "\n".join(lines) + "\n"


def _sysctl(machine: Machine) -> str:
    return "".join(f"{name} = {value}\n" for name, value in sorted(machine.sysctl.items()))


def _machine_id(twin: str, name: str) -> str:
    return hashlib.sha256(f"qhs {twin} {name}".encode()).hexdigest()[:32]
