#!/usr/bin/python3 -B
"""What a member of a cluster needs beside its server.

    join      before a server starts: one without data that the others know is taken out and put in anew, as it can no
              longer vouch for what it agreed to
    check     say why this member does not serve, and exit with 2; or nothing
    begun     exit with 0 where this member has data, else 2
    begin     have the next start of a server begin a cluster; data of one that has no majority any more is set aside

What fails is a line on standard error, with exit code 1.
"""

import http.client
import json
import os
import shutil
import ssl
import sys
import time
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/qhs/etcd/member.json")
DATA = Path("/var/lib/qhs-etcd/member")
ASIDE = DATA.with_name("member.aside")
BEGIN = Path("/run/qhs-etcd-begin")
TLS = Path("/etc/qhs/tls")
CLIENTS, PEERS = 2381, 2382  # ports
PATIENCE = 5  # seconds for an answer
# Seconds for which members that have just lost one may wait before they let one in: more of them may be gone.
SETTLES = 30


class AbsentError(Exception):
    """What is not there, and why."""


class RefusedError(AbsentError):
    """What a member answered that would not."""


def settings() -> dict[str, Any]:
    """What the role wrote."""
    found: dict[str, Any] = json.loads(SETTINGS.read_text())
    return found


def context() -> ssl.SSLContext:
    """As this machine, with those that the estate's root vouches for."""
    made = ssl.create_default_context(cafile=str(TLS / "ca.crt"))
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.load_cert_chain(TLS / "machine.crt", TLS / "machine.key")
    return made


def ask(address: str, path: str, **fields: Any) -> dict[str, Any]:
    """What a member answers. Raises AbsentError."""
    connection = http.client.HTTPSConnection(address, CLIENTS, context=context(), timeout=PATIENCE)
    try:
        connection.request("POST", f"/v3/{path}", json.dumps(fields))
        response = connection.getresponse()
        found: dict[str, Any] = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AbsentError(f"{address}: {error}") from None
    finally:
        connection.close()
    if response.status != http.HTTPStatus.OK:
        raise RefusedError(f"{address}: {found.get('message', response.reason)}")
    return found


def join() -> None:
    """Raises AbsentError where there is no data, no member that answers, and nobody who said that a cluster begins."""
    joined = Path(os.environ["RUNTIME_DIRECTORY"]) / "joined.env"
    if BEGIN.exists():
        if DATA.exists():
            shutil.rmtree(ASIDE, ignore_errors=True)
            DATA.rename(ASIDE)
        joined.write_text("ETCD_INITIAL_CLUSTER_STATE=new\n")
        return
    if DATA.exists():
        joined.write_text("ETCD_INITIAL_CLUSTER_STATE=existing\n")
        return
    end = time.monotonic() + SETTLES
    while said := let_in():
        if time.monotonic() > end or not any(isinstance(one, RefusedError) for one in said):
            raise AbsentError(
                f"{settings()['name']} has no data: found no other member that lets it in "
                f"({'; '.join(map(str, said))}); wanted one, or a new cluster"
            )
        time.sleep(1)
    joined.write_text("ETCD_INITIAL_CLUSTER_STATE=existing\n")


def let_in() -> list[AbsentError]:
    """What each of the others said, where none of them lets this member in; else nothing."""
    own, members = settings()["name"], settings()["members"]
    said: list[AbsentError] = []
    for name in members.keys() - {own}:
        try:
            anew(members[name], f"https://{members[own]}:{PEERS}")
        except AbsentError as error:
            said.append(error)
        else:
            return []
    return said


def anew(other: str, peer: str) -> None:
    """Have a member known by another one as one that has nothing yet."""
    for one in ask(other, "cluster/member/list", linearizable=True)["members"]:
        if one["peerURLs"] == [peer]:
            ask(other, "cluster/member/remove", ID=one["ID"])
    ask(other, "cluster/member/add", peerURLs=[peer])


def check() -> str:
    """Why it does not serve; empty: it does, and there is a leader."""
    found = settings()
    try:
        status = ask(found["members"][found["name"]], "maintenance/status")
    except AbsentError as error:
        return f"the server does not answer: {error}"
    return "" if status.get("leader", "0") != "0" else "it knows no leader"


def main() -> int:
    """Runs one verb. Returns the exit code."""
    match sys.argv[1:]:
        case ["check"]:
            print(found := check(), end="")
            return 2 if found else 0
        case ["begun"]:
            return 0 if DATA.exists() else 2
        case ["begin"]:
            BEGIN.touch()
            return 0
        case ["join"]:
            try:
                join()
            except AbsentError as error:
                print(error, file=sys.stderr)
                return 1
            return 0
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main())
