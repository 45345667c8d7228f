"""Asks a machine about itself, and changes nothing. It runs there as root, from standard input, with Python alone.

Prints one JSON object: each question with what was answered, or {"error": why not}. What the answers mean is for
`policies.live.answers`, where the rules live.
"""

import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

UNITS = (
    "auditd.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "rsyslog.service",
    "prometheus-node-exporter.service",
    "qhs-malware-scan.service",
    "qhs-malware-access.service",
    "qhs-inspection.service",
    "qhs-public-edge.service",
)
COMMANDS = {
    "sshd": "sshd -T",
    "chains": "nft --json list chains",
    "units": f"systemctl show --property=Id,ActiveState,UnitFileState {' '.join(UNITS)}",
    "accounts": "getent passwd",
    "root": "passwd --status root",
    "apt": "apt-config dump",
    "packages": "dpkg-query --show --showformat=${db:Status-Status}:${Package}\\n",
    "listening": "ss --no-header --listening --numeric --tcp --udp",
    "sources": "chronyc -n -c sources",
    "tracking": "chronyc -n -c tracking",
    "chronyd": "pgrep --list-full --exact chronyd",
    # Nothing where it is no firewall, or where no daemon answers.
    "tunnels": "find /etc/swanctl -name pair.conf -exec swanctl --list-sas ;",
    "charon": "find /etc/swanctl -name pair.conf -exec swanctl --stats ;",
    # Nothing where there is no HSM. Its own user asks, or what it opens would be root's.
    "hsm": "find /usr/local/lib -name qhs_hsm.py -exec runuser -u qhs-hsm -- {} tokens ;",
    # Nothing where there is no log store.
    "log-store": "find /usr/local/sbin -name qhs-logs -exec {} status ;",
}
TEXTS = {
    "log-sender": ("/etc/rsyslog.conf",),
    "ssh-files": ("/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/*.conf"),
    "root-keys": ("/root/.ssh/authorized_keys*", "/etc/ssh/authorized_keys.d/root"),
    "sudoers": ("/etc/sudoers", "/etc/sudoers.d/*"),
    "apparmor": ("/sys/module/apparmor/parameters/enabled",),
    "profiles": ("/sys/kernel/security/apparmor/profiles",),
    "kernel": (
        "/proc/sys/kernel/*",
        "/proc/sys/fs/*",
        "/proc/sys/net/ipv4/*",
        "/proc/sys/net/ipv4/conf/all/*",
        "/proc/sys/net/ipv6/conf/all/*",
    ),
}
LONGEST = 20  # seconds


def said(command: str) -> str:
    """What a command prints; raises where it fails."""
    done = subprocess.run(command.split(), capture_output=True, text=True, timeout=LONGEST, check=False)
    if done.returncode:
        raise OSError(f"`{command}` ended with {done.returncode}: {done.stderr.strip()[-200:]}")
    return done.stdout


def texts(patterns: tuple[str, ...]) -> dict[str, str]:
    """Every file that the patterns name and that is there, with its content."""
    found: dict[str, str] = {}
    for pattern in patterns:
        for path in sorted(Path("/").glob(pattern.lstrip("/"))):
            try:
                found[str(path)] = path.read_text(errors="replace")
            except OSError:  # a setting that can only be written, a folder
                continue
    return found


def answered(ask: Callable[[], object]) -> object:
    """The answer, or why there is none."""
    try:
        return ask()
    except (OSError, subprocess.SubprocessError) as error:
        return {"error": str(error)}


def main() -> None:
    """Ask everything."""
    answers = {name: answered(partial(said, command)) for name, command in COMMANDS.items()}
    answers |= {name: answered(partial(texts, patterns)) for name, patterns in TEXTS.items()}
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
