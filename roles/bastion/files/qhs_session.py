#!/usr/bin/python3 -I
"""What a person gets on a bastion: a recorded session on one machine, and nothing else.

    ssh -A -t GROUP@BASTION MACHINE         a session there
    ssh -A GROUP@BASTION MACHINE COMMAND    one command there

An SSH forced command. It runs ssh under sudo, which records as root what the person types and sees. The certificate
comes from the person's agent, so that the machine knows who it is.
"""

from __future__ import annotations

import json
import os
import pwd
import sys
import syslog
import time
from pathlib import Path

from cryptography.hazmat.primitives.serialization import SSHCertificate, load_ssh_public_identity

MACHINES = Path("/etc/qhs/bastion/machines.json")
CONFIGURATION = "/etc/qhs/bastion/ssh_config"
RECORDINGS = "/var/log/qhs-sessions"
ROOM = 16 * 1024 * 1024  # bytes that must be free, so that a session does not end soon after it began


class RefusedError(Exception):
    """What the person is told."""


def main() -> None:
    """Become the recorded session, or say why not."""
    account = pwd.getpwuid(os.getuid()).pw_name
    asked = os.environ.get("SSH_ORIGINAL_COMMAND", "").strip()
    machine, _, command = asked.partition(" ")
    who = shown()
    try:
        refuse(account, machine)
    except RefusedError as reason:
        syslog.syslog(syslog.LOG_AUTH | syslog.LOG_NOTICE, f"refused {account} {name(who)} {asked!r}: {reason}")
        sys.exit(f"{machine or 'no machine'}: {reason}")
    # The tag has no other use than to have the name in sudo's log and in the recording.
    onward = ["/usr/bin/ssh", "-F", CONFIGURATION, "-P", name(who), *(["-t"] if os.isatty(0) else []), "--", machine]
    left = max(1, int(who.valid_before - time.time()))
    recorded = ["sudo", "--non-interactive", f"--user={account}", f"--command-timeout={left}", "--", *onward]
    os.execv("/usr/bin/sudo", [*recorded, *([command] if command else [])])  # noqa: S606 - a shell would be a way out


def refuse(account: str, machine: str) -> None:
    """Raises RefusedError where there is no session to be had."""
    people: dict[str, list[str]] = json.loads(MACHINES.read_text())
    own = [one for one, groups in people.items() if account in groups]
    if machine not in own:
        raise RefusedError(f"wanted one of {', '.join(own)}; `ssh -A -t {account}@BASTION MACHINE`")
    if "SSH_AUTH_SOCK" not in os.environ:
        raise RefusedError("found no agent, wanted the one with the certificate: `ssh-add`, then `ssh -A`")
    disk = os.statvfs(RECORDINGS)
    if disk.f_bavail * disk.f_frsize < ROOM or (disk.f_files and not disk.f_favail):
        raise RefusedError(
            f"no session can be recorded, so there is none: found {disk.f_bavail * disk.f_frsize} bytes and "
            f"{disk.f_favail} files free in {RECORDINGS} of {os.uname().nodename}, wanted {ROOM}; "
            "have automation make room there"
        )


def shown() -> SSHCertificate:
    """The certificate that the person came in with, as sshd has verified it."""
    _, _, public = Path(os.environ["SSH_USER_AUTH"]).read_bytes().partition(b" ")
    found = load_ssh_public_identity(public.strip())
    if not isinstance(found, SSHCertificate):
        sys.exit("found a bare key, wanted a certificate: `qhs pki person`")
    return found


def name(who: SSHCertificate) -> str:
    """Of the person and of the certificate, as sshd's own log has them."""
    return f"{who.key_id.decode()}/{who.serial}"


if __name__ == "__main__":
    main()
