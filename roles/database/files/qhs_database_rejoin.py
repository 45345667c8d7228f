#!/usr/bin/python3 -B
"""Has a member copied anew whose log parted from that of the copy it follows.

Where another site took writes while rows were on their way, its copy is taken back to where both were alike, by
Patroni, on the member that leads the copy. On one that follows Patroni does so only where whoever leads takes writes:
behind a copy it asks the server, in vain, for ever. What it has and nobody else goes, as it went there (T-B08).
"""

import sys
from typing import Any

sys.path.insert(0, "/usr/local/lib/qhs-database")
from qhs_database import DATA, patroni, status
from qhs_database_timeline import parted

LOG = DATA.with_name("pg_wal")


def astray(found: dict[str, Any], members: list[dict[str, Any]]) -> bool:
    """Whether it has what the leader of the site's copy has not. `found`: its status, `members`: of the site."""
    leader = next((one for one in members if one["role"] == "standby_leader"), {})
    follows, number = leader.get("timeline"), found.get("timeline")
    if found["role"] != "replica" or found.get("replication_state") == "streaming" or not follows or not number:
        return False
    history = LOG / f"{follows:08X}.history"
    if follows == number or not history.exists():
        return False
    return parted(history.read_text(), number, int(found.get("xlog", {}).get("replayed_location", 0)))


def main() -> int:
    """Looks once. Returns the exit code."""
    try:
        if astray(status(), patroni("GET", "/cluster")["members"]):
            print("its log parted from that of the copy it follows: it is copied anew")
            # By force it would break off its own copying.
            patroni("POST", "/reinitialize", {"force": False})
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
