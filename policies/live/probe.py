"""Asks a machine about itself, and changes nothing. It runs there as root, from standard input, with Python alone.

Prints one JSON object: each question with what was answered, or {"error": why not}. What the answers mean is for
`policies.live.answers`, where the rules live. A machine that is told of a time-stamp service asks it for one:

    NAME ANCHOR   of the service, and what its certificates must lead to, in DER and base64
"""

import base64
import http.client
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
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
    # Nothing where there is no part of a cluster.
    "cluster": "find /etc/qhs -path */kubernetes/identity.json -exec pgrep --list-full kube|metrics-server ;",
    # By what secrets are encrypted: names alone, never the keys. Nothing where there is no control plane.
    "encryption": 'find /run -maxdepth 2 -name encryption.json -exec grep -oE "[a-z]+":.[{] {} ;',
    # Whom its database speaks to, as the kernel has it; nothing where there is none.
    "paths": "ss --no-header --oneline --numeric --tcp --info state established sport = :5432",
    # Nothing where there is no log store.
    "log-store": "find /usr/local/sbin -name qhs-logs -exec {} status ;",
}
TEXTS = {
    "log-sender": ("/etc/rsyslog.conf",),
    "ssh-files": ("/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/*.conf"),
    "root-keys": ("/root/.ssh/authorized_keys*", "/etc/ssh/authorized_keys.d/root"),
    "sudoers": ("/etc/sudoers", "/etc/sudoers.d/*"),
    "node-agent": ("/etc/qhs/kubernetes/kubelet.json", "/etc/qhs/kubernetes/kube-proxy.json"),
    "audit-policy": ("/etc/qhs/kubernetes/audit.json",),
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
STATES = (
    "/etc/cni/net.d/*",
    "/etc/kubernetes/*",
    "/etc/qhs/kubernetes/*",
    "/etc/qhs/tls/*",
    "/etc/systemd/system/qhs-*",
    "/run/qhs-kubernetes/*",
    "/var/lib/qhs-etcd",
    "/var/lib/qhs-kubernetes",
    "/var/lib/qhs-kubernetes/*",
)
"""Of the files of a cluster's parts it is asked who may read them."""
LONGEST = 20  # seconds
TLS = Path("/etc/qhs/tls")
DATABASE = Path("/etc/qhs/database/member.json")
OBJECT_SYNC = Path("/run/qhs-object-sync/status.json")
BACKUPS = Path("/var/lib/prometheus/node-exporter/qhs_backup.prom")
PSQL = "runuser -u postgres -- psql -h /run/qhs-database -d postgres -AtXq -v ON_ERROR_STOP=1"
# A copy lacks nothing where it has all that whom it follows had, when that last said how much it has.
STANDS = """select json_build_object(
'writes', not pg_is_in_recovery(),
'lag', (select extract(epoch from now() - case when pg_last_wal_replay_lsn() >= latest_end_lsn
then last_msg_receipt_time else pg_last_xact_replay_timestamp() end)
from pg_stat_wal_receiver where status = 'streaming'),
'confirms', (select coalesce(json_agg(host(client_addr) order by client_addr), '[]') from pg_stat_replication
where sync_state in ('sync', 'quorum')))"""


def said(command: str, given: str = "") -> str:
    """What a command prints that is given this; raises where it fails."""
    done = subprocess.run(command.split(), input=given, capture_output=True, text=True, timeout=LONGEST, check=False)
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


def environment(program: str) -> str:
    """What its processes were told by variables; empty: none runs."""
    names = texts(("/proc/[0-9]*/comm",))
    running = (path.replace("comm", "environ") for path, name in names.items() if name.strip() == program)
    return "\n".join(texts(tuple(running)).values()).replace("\0", "\n")


def states(patterns: tuple[str, ...]) -> dict[str, str]:
    """The mode and the owner of every file that the patterns name. Raises KeyError for an owner that has no name."""
    found: dict[str, str] = {}
    for path in (one for pattern in patterns for one in Path("/").glob(pattern.lstrip("/"))):
        try:
            found[str(path)] = f"{path.stat().st_mode & 0o7777:04o} {path.owner()}:{path.group()}"
        except FileNotFoundError:  # it has gone since
            continue
    return found


def database() -> str:
    """How the database of this machine stands, by itself; nothing where there is none."""
    return said(PSQL, STANDS) if DATABASE.exists() else ""


def object_sync() -> str:
    """How what follows another site's object store stands, and the time; nothing where there is no such thing."""
    if not Path("/usr/local/lib/qhs-object-sync").exists():
        return ""
    return json.dumps(json.loads(OBJECT_SYNC.read_text()) | {"asked": time.time()})


def backups() -> str:
    """What this machine last told of the copies of its database, and the time; nothing where it tells of none."""
    return json.dumps({"told": BACKUPS.read_text(), "asked": time.time()}) if BACKUPS.exists() else ""


def stamped(service: str, anchor: str) -> str:
    """What a service gives for a random digest, as OpenSSL reads and judges it, between two looks at the clock."""
    digest = os.urandom(32).hex()
    before, reply, after = posted(service, openssl("ts", "-query", "-digest", digest, "-sha256", "-cert").stdout)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(ssl.DER_cert_to_PEM_cert(base64.b64decode(anchor)))
        file.flush()
        judged = openssl("ts", "-verify", "-digest", digest, "-in", "/dev/stdin", "-CAfile", file.name, given=reply)
    read = openssl("ts", "-reply", "-in", "/dev/stdin", "-text", given=reply)
    return f"Before: {before}\nAfter: {after}\n{judged.stdout.decode()}{read.stdout.decode()}"


def posted(service: str, query: bytes) -> tuple[float, bytes, float]:
    """What the service answers, with the time before it was asked and after."""
    context = ssl.create_default_context(cafile=str(TLS / "ca.crt"))
    context.load_cert_chain(TLS / "machine.crt", TLS / "machine.key")
    connection = http.client.HTTPSConnection(service, context=context, timeout=LONGEST)
    try:
        connection.connect()
        before = time.time()
        connection.request("POST", "/v1/time-stamp", query, {"Content-Type": "application/timestamp-query"})
        return before, connection.getresponse().read(), time.time()
    finally:
        connection.close()


def openssl(*words: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """What it says; that it fails is an answer, too."""
    return subprocess.run(["openssl", *words], input=given, capture_output=True, timeout=LONGEST, check=False)


def answered(ask: Callable[[], object]) -> object:
    """The answer, or why there is none."""
    try:
        return ask()
    except (OSError, ValueError, KeyError, http.client.HTTPException, subprocess.SubprocessError) as error:
        return {"error": str(error)}


def main() -> None:
    """Ask everything."""
    answers = {name: answered(partial(said, command)) for name, command in COMMANDS.items()}
    answers |= {name: answered(partial(texts, patterns)) for name, patterns in TEXTS.items()}
    answers["etcd"] = answered(partial(environment, "etcd"))
    answers["database"] = answered(database)
    answers["object-sync"] = answered(object_sync)
    answers["backups"] = answered(backups)
    answers["files"] = answered(partial(states, STATES))
    # Nothing where it is to ask no time-stamp service.
    answers["time-stamp"] = answered(partial(stamped, *sys.argv[1:])) if sys.argv[1:] else ""
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
