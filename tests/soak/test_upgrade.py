"""T-A17: a control plane on the next minor version, and back with its store where a part is not well after it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from qhs import tools
from qhs.cloud.store import PARTS
from qhs.tools import spec
from stacks.model import load
from stacks.model.estate import WORKER
from tests.twin.conftest import Run
from tests.twin.hosts import Hosts
from tests.twin.test_canaries import asked, running
from tests.twin.test_control_plane import Kubectl, kubectl
from tests.twin.waiting import await_

__all__ = ["kubectl"]

SITE, MASTER = "ndc", "ndc-cp1"
NODE = next(one.name for one in load("twin").with_role(SITE, WORKER))
NEXT = "kubernetes-next"
TO = spec.load(NEXT).version
LAST = PARTS[-1]
WATCHED, WATCHED_BACK = 300, 480
"""Seconds that applications are asked for: longer than an upgrade takes, and one that goes back."""
BEGINS = 240
"""Seconds until the newer API answers."""
BEFORE, MEANWHILE = "before-the-upgrade", "meanwhile"
DROP_IN = f"/run/systemd/system/qhs-{LAST}.service.d/hangs.conf"
HANGS = f"""[Service]
ExecStartPost=/bin/sh -c "if {LAST} --version | grep -q v{TO}; then kill -STOP $MAINPID; fi"
"""

type Silence = tuple[float, list[str]]
"""The longest that one did not answer, and what came instead."""
type Watch = Callable[[float], Future[Silence]]


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    """Built before anything is timed: a quarter of an hour on a new machine."""
    tools.built(NEXT)


@pytest.fixture
def hangs(hosts: Hosts) -> Iterator[None]:
    """The last part is begun as the newer version, and says nothing."""
    hosts.say(f"install -D /dev/stdin {DROP_IN} <<'E'\n{HANGS}E\nsystemctl daemon-reload", [MASTER])
    yield
    hosts.say(f"rm {DROP_IN}; systemctl daemon-reload", [MASTER])


@pytest.fixture(scope="module")
def had_before(kubectl: Kubectl) -> Iterator[None]:
    """Something that somebody declared before."""
    assert kubectl(SITE, "create", "configmap", BEFORE)[0] == 0
    yield
    kubectl(SITE, "delete", "configmap", "--ignore-not-found", BEFORE, MEANWHILE)


def version(kubectl: Kubectl) -> str:
    """Of the API; empty where it does not answer."""
    code, said = kubectl(SITE, "get", "--raw", "/version")
    return "" if code else str(json.loads(said)["gitVersion"]).removeprefix("v")


@pytest.fixture
def watched(hosts: Hosts, kubectl: Kubectl) -> Iterator[Watch]:
    """Has applications of the site asked for so many seconds."""
    pods = running(kubectl, SITE)
    with ThreadPoolExecutor(1) as pool:
        yield lambda seconds: pool.submit(asked, hosts, NODE, pods, seconds)


def upgraded(qhs: Run) -> tuple[int, dict[str, Any], float]:
    """The exit code, the report and the seconds that it took."""
    began = time.monotonic()
    done = qhs("cloud", "upgrade", SITE, "--to", TO, "--json")
    assert done.stdout, done.stderr[-3000:]
    return done.returncode, json.loads(done.stdout), time.monotonic() - began


@pytest.mark.usefixtures("had_before", "hangs")
def test_a_part_that_is_not_well_takes_all_back_with_the_store(
    qhs: Run, hosts: Hosts, kubectl: Kubectl, watched: Watch, figures: dict[str, float]
) -> None:
    """What the newer API took meanwhile is gone: an older one might not read it."""
    old, watch = version(kubectl), watched(WATCHED_BACK)
    with ThreadPoolExecutor(1) as pool:
        upgrade = pool.submit(upgraded, qhs)
        await_(lambda: version(kubectl) == TO, BEGINS)
        await_(lambda: kubectl(SITE, "create", "configmap", MEANWHILE)[0] == 0, 30)
        code, report, seconds = upgrade.result()
    assert seconds < WATCHED_BACK
    assert (code, report["outcome"], report["gate"]) == (2, "went back", f"{LAST} of {MASTER}")
    assert report["runs"] == version(kubectl) == old
    assert hosts.say("/usr/local/lib/qhs-control-plane/qhs_control_plane.py used", [MASTER])[MASTER] == "{}"
    assert [kubectl(SITE, "get", "configmap", one)[0] for one in (BEFORE, MEANWHILE)] == [0, 1]
    figures |= {
        "seconds until it went back": round(seconds),
        "seconds without an application, back": silent(watch),
    }


@pytest.mark.usefixtures("had_before")
def test_every_part_runs_the_next_version_and_applications_notice_nothing(
    qhs: Run, kubectl: Kubectl, watched: Watch, figures: dict[str, float]
) -> None:
    watch = watched(WATCHED)
    code, report, seconds = upgraded(qhs)
    assert seconds < WATCHED
    assert (code, report["outcome"], report["runs"], report["gate"]) == (0, "upgraded", TO, "")
    assert [one["part"] for one in report["steps"]] == [*PARTS]
    assert kubectl(SITE, "get", "configmap", BEFORE)[0] == 0
    assert upgraded(qhs)[1]["outcome"] == "as wanted before"
    checks = json.loads(qhs("cloud", "status", "--json").stdout)["checks"]
    assert [one for one in checks if not one["as_wanted"]] == []
    figures |= {"seconds of the upgrade": round(seconds), "seconds without an application": silent(watch)}
    figures["parts on the next version"] = len(report["steps"])


def silent(watch: Future[Silence]) -> float:
    """The longest that an application did not answer."""
    longest, odd = watch.result()
    assert odd == []
    return round(longest, 1)
