#!/usr/bin/python3 -B
"""What a member of a cluster needs beside its server. Each verb is followed by what the cluster is called here.

    join      before a server starts: one without data that the others know is taken out and put in anew, as it can no
              longer vouch for what it agreed to
    check     say why this member does not serve, and exit with 2; or nothing
    revision  print that of the store, as this member's server knows it
    begun     exit with 0 where this member has data of a cluster that it has served in, else 2
    begin     with the server stopped: have it begin a cluster, however often it has to be started until it serves; data
              of one that has no majority any more is set aside

What fails is a line on standard error, with exit code 1.
"""

import http.client
import json
import os
import shutil
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

SETTINGS = Path("/etc/qhs/etcd/clusters.json")
TLS = Path("/etc/qhs/tls")
PATIENCE = 5  # seconds for an answer
# Seconds for which members that have just lost one may wait before they let one in: more of them may be gone.
SETTLES = 30


class AbsentError(Exception):
    """What is not there, and why."""


class RefusedError(AbsentError):
    """What a member answered that would not."""


@dataclass(frozen=True)
class Cluster:
    """One that this machine takes part in."""

    name: str
    own: str
    """This member."""
    members: dict[str, str]
    """The addresses of all of them."""
    clients: int
    """The port that whoever asks comes to."""
    peers: int
    """The port that the others come to."""

    @classmethod
    def read(cls, name: str) -> Self:
        """As the role wrote it."""
        found = json.loads(SETTINGS.read_text())
        return cls(name, found["own"], **found["clusters"][name])

    @property
    def data(self) -> Path:
        """The server's."""
        return Path(f"/var/lib/qhs-{self.name}/member")

    @property
    def begins(self) -> Path:
        """There from `begin` until the server serves, which takes it away; with the data, as both outlast a boot."""
        return self.data.with_name("begins")


def context() -> ssl.SSLContext:
    """As this machine, with those that the estate's root vouches for."""
    made = ssl.create_default_context(cafile=str(TLS / "ca.crt"))
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.load_cert_chain(TLS / "machine.crt", TLS / "machine.key")
    return made


@contextmanager
def connected(address: str, port: int, patience: float = PATIENCE) -> Iterator[http.client.HTTPSConnection]:
    """To a member, for questions that follow each other; each may take so many seconds."""
    connection = http.client.HTTPSConnection(address, port, context=context(), timeout=patience)
    try:
        yield connection
    finally:
        connection.close()


def asked(connection: http.client.HTTPSConnection, path: str, **fields: Any) -> dict[str, Any]:
    """What a member answers. Raises AbsentError."""
    try:
        connection.request("POST", f"/v3/{path}", json.dumps(fields))
        response = connection.getresponse()
        found: dict[str, Any] = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AbsentError(f"{connection.host}: {error}") from None
    if response.status != http.HTTPStatus.OK:
        raise RefusedError(f"{connection.host}: {found.get('message', response.reason)}")
    return found


def ask(address: str, port: int, path: str, **fields: Any) -> dict[str, Any]:
    """One question. Raises AbsentError."""
    with connected(address, port) as connection:
        return asked(connection, path, **fields)


def join(cluster: Cluster) -> None:
    """Raises AbsentError where there is no data, no member that answers, and nobody who said that a cluster begins.

    It changes no data: a server that begins may be started again and again, and has agreed to what it wrote by then.
    """
    joined = Path(os.environ["RUNTIME_DIRECTORY"]) / "joined.env"
    if cluster.begins.exists():
        joined.write_text("ETCD_INITIAL_CLUSTER_STATE=new\n")
        return
    if cluster.data.exists():
        joined.write_text("ETCD_INITIAL_CLUSTER_STATE=existing\n")
        return
    end = time.monotonic() + SETTLES
    while said := let_in(cluster):
        if time.monotonic() > end or not any(isinstance(one, RefusedError) for one in said):
            raise AbsentError(
                f"{cluster.own} has no data: found no other member that lets it in "
                f"({'; '.join(map(str, said))}); wanted one, or a new cluster"
            )
        time.sleep(1)
    joined.write_text("ETCD_INITIAL_CLUSTER_STATE=existing\n")


def let_in(cluster: Cluster) -> list[AbsentError]:
    """What each of the others said, where none of them lets this member in; else nothing."""
    said: list[AbsentError] = []
    for name in cluster.members.keys() - {cluster.own}:
        try:
            anew(cluster, cluster.members[name])
        except AbsentError as error:
            said.append(error)
        else:
            return []
    return said


def anew(cluster: Cluster, other: str) -> None:
    """Have this member known by another one as one that has nothing yet."""
    peer = f"https://{cluster.members[cluster.own]}:{cluster.peers}"
    for one in ask(other, cluster.clients, "cluster/member/list", linearizable=True)["members"]:
        if one["peerURLs"] == [peer]:
            ask(other, cluster.clients, "cluster/member/remove", ID=one["ID"])
    ask(other, cluster.clients, "cluster/member/add", peerURLs=[peer])


def begun(cluster: Cluster) -> bool:
    """Data of a begin that has not come to its end counts for nothing yet."""
    return cluster.data.exists() and not cluster.begins.exists()


def begin(cluster: Cluster) -> None:
    """What was set aside gives way to data of a cluster that served later, and to nothing else."""
    failed = cluster.begins.exists()
    cluster.data.parent.mkdir(mode=0o700, exist_ok=True)
    if cluster.data.exists():
        aside = cluster.data.with_name("member.failed" if failed else "member.aside")
        shutil.rmtree(aside, ignore_errors=True)
        cluster.data.rename(aside)
    cluster.begins.touch()


def check(cluster: Cluster) -> str:
    """Why it does not serve; empty: it does, and there is a leader."""
    try:
        found = status(cluster)
    except AbsentError as error:
        return f"the server does not answer: {error}"
    return "" if found.get("leader", "0") != "0" else "it knows no leader"


def status(cluster: Cluster) -> dict[str, Any]:
    """What this member's server says of itself; others are not needed for it. Raises AbsentError."""
    return ask(cluster.members[cluster.own], cluster.clients, "maintenance/status")


def main() -> int:
    """Runs one verb. Returns the exit code."""
    try:
        match sys.argv[1:]:
            case ["check", name]:
                print(found := check(Cluster.read(name)), end="")
                return 2 if found else 0
            case ["revision", name]:
                print(status(Cluster.read(name))["header"]["revision"])
            case ["begun", name]:
                return 0 if begun(Cluster.read(name)) else 2
            case ["begin" | "join" as verb, name]:
                {"begin": begin, "join": join}[verb](Cluster.read(name))
            case _:
                sys.exit(__doc__)
    except AbsentError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
