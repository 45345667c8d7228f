"""The members of the lease's store on roots of the machine image, each with its door."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.kernel.clusters import Cluster, Member, Wires, program
from tests.kernel.over_image import over_image
from tests.twin.waiting import await_

DOOR = "usr/local/lib/qhs-lease/qhs_lease.py"
MEMBERS = {f"{site}-infra1": f"10.16.0.{number}" for number, site in enumerate(("qhdc", "ndc", "hall"), 1)}
HOLDERS = {"qhdc-db1": "qhdc", "ndc-db1": "ndc"}
ADDRESSES = MEMBERS | {name: f"10.16.0.{number}" for number, name in enumerate(HOLDERS, 11)}
NAMES = {name: f"lease.{name.removesuffix('-infra1')}.qhs.internal" for name in MEMBERS}


@contextmanager
def leased(
    own: Path, wires: Wires, folder: Path, seconds: int, holders: Mapping[str, str] = HOLDERS
) -> Iterator[dict[str, Member]]:
    """All three, begun; the lease is good for so many seconds."""
    given = {
        "lease_members": MEMBERS, "lease_names": list(NAMES.values()), "lease_holders": dict(holders),
        "lease_founds": "qhdc", "lease_seconds": seconds,
    }  # fmt: skip
    cluster = Cluster("lease", "lease", MEMBERS, 2379, 2380, given)
    with ExitStack() as stack:
        found: dict[str, Member] = {}
        for name in MEMBERS:
            root = stack.enter_context(over_image(folder / name))
            found[name] = one = Member(cluster, root, name, own, wires.networks[name], NAMES[name])
            program(root, "lease", DOOR)
            (root / "etc/qhs/lease/door.json").write_text(cluster.template("etc/qhs/lease/door.json", name))
            assert one.says("begin") == (0, "")
        for one in found.values():
            one.start()
            stack.callback(one.stop)
            log = stack.enter_context((one.root / "var/log/door.log").open("ab"))
            door = stack.enter_context(subprocess.Popen(one.within(f"/{DOOR}", "serve"), stdout=log, stderr=log))
            stack.callback(door.kill)
        await_(lambda: all(one.runs(f"/{DOOR}", "check") == (0, "") for one in found.values()), 30)
        yield found


def stands(member: Member) -> dict[str, object]:
    code, said = member.runs(f"/{DOOR}", "status")
    assert code == 0, said
    found: dict[str, object] = json.loads(said)
    return found


def choose(member: Member, site: str, instead_of: str) -> None:
    assert member.runs(f"/{DOOR}", "choose", site, instead_of) == (0, "")
