#!/usr/bin/python3 -B
"""What a site's databases are: those that take writes, or copies of another site's, by what the lease says.

    follow SITE END   have them take writes where SITE is this one, once all of the log up to END is here; else have
                      them be copies of SITE's, once nobody here takes writes. Exits with 0 when it is so, with 3 before
    promotes          before a server is promoted: wait for the lease, and have it give a timeline of this site's own
    number            the second of these alone
    prepare           before Patroni starts: have it know how databases begin, where they may, and that they are copies

Patroni keeps what they are in the store that its members agree by, and does what that says. What cannot be done is a
line on standard error, with exit code 1.
"""

import base64
import contextlib
import json
import subprocess
import sys
import time
from typing import Any

sys.path.insert(0, "/usr/local/lib/qhs-etcd")
sys.path.insert(0, "/usr/local/lib/qhs-database")
from qhs_database import BEGIN, DATA, LEADERS, RUNTIME, SETTINGS, patroni, settings, status
from qhs_database_timeline import leave_others, position
from qhs_etcd import AbsentError, Cluster, RefusedError, asked, connected

PREFIX = "/qhs/database/"
CLUSTER = "etcd"
CONTROL = "/usr/lib/postgresql/17/bin/pg_controldata"
DONE, NOT_YET = 0, 3
PATIENCE = 5  # seconds for an answer
WAITS = 60
"""Seconds in which somebody can say which site is chosen, where all machines of an estate come up at once."""


class Agreed:
    """What the members of the site agree on, at any of them, the own one first."""

    def __init__(self) -> None:
        self._cluster = Cluster.read(CLUSTER)

    def read(self, key: str) -> tuple[str, str]:
        """A value, empty where there is none, and by which number the store knows it. Raises AbsentError."""
        found = self._ask("kv/range", key=coded(PREFIX + key)).get("kvs")
        return (base64.b64decode(found[0]["value"]).decode(), found[0]["mod_revision"]) if found else ("", "0")

    def write(self, key: str, value: str, revision: str) -> bool:
        """Whether it is so now: not where somebody else has written it. Raises AbsentError."""
        unchanged = {"key": coded(PREFIX + key), "target": "MOD", "mod_revision": revision}
        put = {"requestPut": {"key": coded(PREFIX + key), "value": coded(value)}}
        return bool(self._ask("kv/txn", compare=[unchanged], success=[put]).get("succeeded"))

    def _ask(self, path: str, **fields: Any) -> dict[str, Any]:
        said = []
        for name in sorted(self._cluster.members, key=lambda one: one != self._cluster.own):
            with connected(self._cluster.members[name], self._cluster.clients, PATIENCE) as connection:
                try:
                    return asked(connection, path, **fields)
                except RefusedError:
                    raise
                except AbsentError as error:
                    said.append(str(error))
        raise AbsentError("; ".join(said))


def coded(text: str) -> str:
    """As the store wants it."""
    return base64.b64encode(text.encode()).decode()


def wanted(site: str) -> dict[str, Any]:
    """What Patroni is to know of its site where `site` takes writes. Each other site's copy keeps the log for itself.

    Raises AbsentError.
    """
    found = settings()
    own, sites = found["site"], found["sites"]
    if site not in sites:
        raise AbsentError(f"{site} is chosen: found no databases there; wanted one of {', '.join(sites)}")
    if site == own:
        return {"standby_cluster": None, "slots": {slot(one): {"type": "physical"} for one in sites if one != own}}
    copies = {
        "host": ",".join(sites[site]),
        "port": 5432,
        "primary_slot_name": slot(own),
        # By this one a site without any data has it anew from the other: Patroni's own one waits for a leader.
        "create_replica_methods": ["other_site"],
    }
    return {"standby_cluster": copies, "slots": None}


def slot(site: str) -> str:
    """What a site's copy keeps the log by."""
    return f"site_{site.replace('-', '_')}"


def follow(site: str, end: str, agreed: Agreed) -> int:
    """Once. Raises AbsentError."""
    want = wanted(site)
    text, revision = agreed.read("config")
    if not text:
        return NOT_YET  # nothing has begun
    config = json.loads(text)
    if all(config.get(key) == value for key, value in want.items()):
        tell(want)
        return DONE
    waits = not_here if site == settings()["site"] else leads_here
    if waits(end, agreed):
        return NOT_YET
    new = {key: value for key, value in (config | want).items() if value is not None}
    if not agreed.write("config", json.dumps(new), revision):
        return NOT_YET
    tell(want)
    return DONE


def not_here(end: str, _: Agreed) -> str:
    """Why this member may not lead yet; empty: it may. One that only follows leaves it to the one that leads."""
    try:
        found = status()
    except OSError as error:
        return str(error)
    if found["role"] not in LEADERS:
        return f"it is {found['role']}"
    reached = int(found["xlog"].get("replayed_location", 0))
    return f"the log is here up to {reached}, not {end}" if end and reached <= position(end) else ""


def leads_here(_: str, agreed: Agreed) -> str:
    """Which other member takes writes as far as anybody knows; empty: none. Told that it is a copy, it would break off
    its writes, whatever is on its way to copies."""
    leader, _ = agreed.read("leader")
    if leader in ("", settings()["name"]):
        return ""
    member, _ = agreed.read(f"members/{leader}")
    return leader if member and json.loads(member).get("role") in ("primary", "master") else ""


def tell(want: dict[str, Any]) -> None:
    """Have the Patroni of this machine look at once, if there is one."""
    with contextlib.suppress(OSError):  # where it does not answer it looks by itself, or when it starts
        patroni("PATCH", "/config", want)


def chosen() -> str:
    """The site that is to take writes. Raises AbsentError where nobody can say."""
    done = subprocess.run(settings()["chosen"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AbsentError(f"nobody says which site is to take writes {done.stderr}")
    return done.stdout


def chosen_by_now() -> str:
    """The same, once somebody can say. Raises AbsentError."""
    end = time.monotonic() + WAITS
    while True:
        try:
            return chosen()
        except AbsentError:
            if time.monotonic() > end:
                raise
            time.sleep(1)


def prepare() -> None:
    """A server that took writes is none any more where they are another site's, or where nobody can say whose they are.

    Raises AbsentError where databases are to begin, and nobody can say so.
    """
    own = settings()["site"]
    try:
        site = chosen_by_now() if BEGIN.exists() else chosen()
    except AbsentError:
        if BEGIN.exists():
            raise
        be_a_copy()
        return
    if site != own or BEGIN.exists():
        (RUNTIME / "config/begin.yml").write_text(json.dumps(begins(site)))
    if site != own:
        be_a_copy()
        with contextlib.suppress(AbsentError):  # without the others nobody leads either; they are told later
            follow(site, "", Agreed())


def number() -> int:
    """Timelines of this site have numbers that no other one gives."""
    found = settings()
    data = DATA.parent
    said = subprocess.run([CONTROL, data], capture_output=True, text=True, env={"LC_ALL": "C"}, check=True).stdout
    current = next(line for line in said.splitlines() if line.startswith("Latest checkpoint's TimeLineID"))
    sites = sorted(found["sites"])
    leave_others(data / "pg_wal", int(current.split(":")[1]), sites.index(found["site"]), len(sites))
    return DONE


def be_a_copy() -> None:
    """Whoever starts the server that is here."""
    if DATA.exists():
        DATA.with_name("standby.signal").touch()


def begins(site: str) -> dict[str, Any]:
    """How the databases of this site begin where `site` takes writes. Raises AbsentError."""
    found: dict[str, Any] = json.loads(SETTINGS.with_name("begin.json").read_text())
    found["bootstrap"]["dcs"] |= {key: value for key, value in wanted(site).items() if value is not None}
    return found


def main() -> int:
    """Runs one verb. Returns the exit code."""
    try:
        match sys.argv[1:]:
            case ["follow", site, end]:
                return follow(site, end, Agreed())
            case ["promotes"]:
                done = subprocess.run(settings()["may"], check=False)
                return done.returncode or number()
            case ["number"]:
                return number()
            case ["prepare"]:
                prepare()
                return DONE
    except (AbsentError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main())
