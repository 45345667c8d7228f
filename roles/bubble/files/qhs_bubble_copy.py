#!/usr/bin/python3 -B
"""The databases of a bubble: a copy of the ones that this machine follows with, which takes writes of its own.

    qhs_bubble_copy.py   as asked on standard input; a line of JSON for each part that is done, until it is told to end

The copy is of the databases as this site has them, made by their own server over its socket, so it is what the site
would go on with if it were the only one left. It is compared with them before it takes writes, keeps no log, and
follows nobody. It runs as who has the databases, within the segment of the data.
"""

import json
import signal
import subprocess
import sys
import time
from typing import Any

sys.path.insert(0, "/usr/local/lib/qhs-database-backup")
sys.path.insert(0, "/usr/local/lib/qhs-database")
sys.path.insert(0, "/usr/local/lib/qhs-pki")
from qhs_backup import MARKS_FOR, SOCKET, STATE, FailedError, called, settings, sql
from qhs_backup_compare import Comparing, Server, ServerError
from qhs_backup_restore import BIN, DIES_WITH_US, LOG_MIB, MIB, REACHED, room, server

PLACE = STATE / "bubble"
DATA, LOG, ACCESS = PLACE / "data", PLACE / "log", PLACE / "access"
CERTIFICATE, KEY = PLACE / "server.crt", PLACE / "server.key"
SIZE = "select sum(pg_database_size(oid)) from pg_database"
END = 120
"""Seconds in which the server has come to the end of what was copied, and takes writes."""
ADMITS = "local all postgres peer\nhostssl all all {} scram-sha-256\n"
"""Whoever keeps it, and tenants by their passwords."""


def fetch() -> dict[str, Any]:
    """A copy, page by page with their checksums, and all of the log that belongs to it. Raises FailedError."""
    began, size = time.monotonic(), int(sql(SIZE))
    room(size // MIB + LOG_MIB)
    PLACE.mkdir(mode=0o700)
    words = ["-h", str(SOCKET), "-U", "replicator", "-D", str(DATA), "--checkpoint=fast", "--wal-method=stream"]
    called(*DIES_WITH_US, str(BIN / "pg_basebackup"), *words)
    at = time.time()
    # What its own server is told lies there, too; nothing of it counts here.
    (DATA / "postgresql.auto.conf").write_text("")
    (DATA / "standby.signal").touch()
    return {"bytes": size, "fetch": round(time.monotonic() - began, 3), "at": at}


def end() -> str:
    """Where the log of the copy ends at least."""
    found: str = json.loads((DATA / "backup_manifest").read_text())["WAL-Ranges"][-1]["End-LSN"]
    return found


def certify(names: list[str]) -> str:
    """A key and a certificate for names, of its own authority: no key of the estate comes into a bubble."""
    words = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-batch"]
    words += ["-subj", "/CN=bubble", "-addext", f"subjectAltName={','.join(f'DNS:{one}' for one in names)}"]
    called("openssl", "req", *words, "-keyout", str(KEY), "-out", str(CERTIFICATE))
    KEY.chmod(0o600)
    return CERTIFICATE.read_text()


def asked(statement: str) -> str:
    """What the copy answers; empty: nothing yet. A password stands on no command line."""
    command = ["psql", "-h", str(PLACE), "-AtXq", "-v", "ON_ERROR_STOP=1", "-d", "postgres"]
    done = subprocess.run(command, input=statement, capture_output=True, text=True, check=False)
    return "" if done.returncode else done.stdout.strip()


def await_(process: "subprocess.Popen[bytes]", what: str, question: str) -> None:
    """Until the copy says yes. Raises FailedError."""
    last = time.monotonic() + END
    while asked(question) != "t":
        if process.poll() is not None or time.monotonic() > last:
            raise FailedError(f"the copy has not {what}: {LOG.read_text(errors='replace')[-800:]}")
        time.sleep(0.2)


def compared() -> dict[str, Any]:
    """What has not changed since the copy is in it, to the row. Raises FailedError with what is not, or ServerError."""
    copy, (reached,) = Server(PLACE), Server(PLACE).row("postgres", REACHED)
    at = float(reached) if reached else time.time()
    found = Comparing(copy, Server(SOCKET), at).all(MARKS_FOR * settings()["days"] - 1)
    if found.faults:
        raise FailedError(f"the copy is not what it is of: {'; '.join(found.faults)}")
    return {"reached": at, "contents": found.told()}


def passwords(given: dict[str, str]) -> None:
    """Of tenants, other than those that they have where they run. Raises FailedError."""
    for name, password in given.items():
        if asked(f"alter role \"{name}\" password '{password}'; select true") != "t":
            raise FailedError(f"the copy has no role {name}; wanted it restored")


def serve(wanted: dict[str, Any]) -> None:
    """Until it is told to end. Raises FailedError or ServerError."""
    tell(**fetch(), root=certify(wanted["names"]))
    ACCESS.write_text(ADMITS.format(wanted["network"]))
    own = {"listen_addresses": wanted["address"], "hba_file": ACCESS, "unix_socket_directories": PLACE}
    secured = {"ssl": "on", "ssl_cert_file": CERTIFICATE, "ssl_key_file": KEY, "ssl_min_protocol_version": "TLSv1.3"}
    with server(DATA, LOG, **own, **secured) as process:
        await_(process, f"come to {end()}", f"select pg_last_wal_replay_lsn() >= '{end()}'")
        tell(**compared())
        await_(process, "been promoted", f"select pg_promote(true, {END})")
        passwords(wanted["passwords"])
        tell(serves=asked("select not pg_is_in_recovery()") == "t")
        process.wait()
    raise FailedError(f"the copy has ended: {LOG.read_text(errors='replace')[-800:]}")


def tell(**more: Any) -> None:
    """A line."""
    print(json.dumps(more), flush=True)


def main() -> int:
    """Returns the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        serve(json.load(sys.stdin))
    except (FailedError, ServerError, OSError) as error:
        tell(fault=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
