"""`qhs cloud status`: every application's part at each of its sites, against what the model says of it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel, Field
from rich.table import Table

from qhs import trust_access
from qhs.cloud import signatures
from qhs.cloud.asking import Said
from qhs.cloud.checks import Check, judged
from qhs.lease import cli as lease
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.kubernetes import clusters

KINDS = ("pods", "secrets", "databases", "buckets", "signatures")


class CloudReport(BaseModel):
    """What `qhs cloud status --json` prints."""

    environment: str
    at: datetime
    checks: list[Check]
    silent: dict[str, str] = Field(description="by site, why its cluster says nothing")
    code: Literal[0, 2, 3]


def status(estate: Estate, twin: Twin) -> CloudReport:
    """Ask all clusters at once."""
    said, silent = asked(estate, twin, "check")
    wanted = signatures.released(estate, twin)
    requests = json.dumps({name: one.requests for name, one in wanted.items()})
    signed, mute = asked(estate, twin, "sign", requests)
    silent |= mute
    checks = [
        *judged(estate, said, lease.stands(twin, estate).chosen),
        *signatures.judged(estate, wanted, signed, trust_access.certificates(twin)),
    ]
    wrong = any(not one.as_wanted for one in checks)
    return CloudReport(
        environment=estate.inventory.environment,
        at=datetime.now(UTC),
        checks=checks,
        silent=silent,
        code=3 if silent else 2 if wrong else 0,
    )


def asked(estate: Estate, twin: Twin, word: str, given: str = "") -> tuple[dict[str, Said], dict[str, str]]:
    """By site what its cluster says, or why it says nothing."""
    trust_access.write(twin, estate)

    def ask(site: str) -> subprocess.CompletedProcess[str]:
        words = ["qhs.cluster", site, sys.executable, "-m", "qhs.cloud.asking", word]
        command = inside.command(twin, [sys.executable, "-m", *words])
        return subprocess.run(command, input=given, capture_output=True, text=True, check=False)

    sites = list(clusters(estate))
    with ThreadPoolExecutor(len(sites)) as pool:
        done = dict(zip(sites, pool.map(ask, sites), strict=True))
    said = {site: Said.model_validate_json(one.stdout) for site, one in done.items() if not one.returncode}
    silent = {
        site: (one.stderr.strip().splitlines() or ["nothing"])[-1] for site, one in done.items() if one.returncode
    }
    return said, silent


def table(estate: Estate, report: CloudReport) -> Table:
    """A line an application and site; of what is not as wanted, what was found."""
    rows = Table("application", "site", *KINDS, title="what applications have, as their own parts find it")
    by_place: dict[tuple[str, str], list[Check]] = {}
    for check in report.checks:
        by_place.setdefault((check.tenant, check.site), []).append(check)
    for tenant, site in sorted(by_place):
        checks = by_place[tenant, site]
        title = estate.catalogue.tenants[tenant].title.vi
        rows.add_row(f"{tenant}\n{title}", site, *(_cell(one for one in checks if one.what == kind) for kind in KINDS))
    return rows


def _cell(checks: Iterable[Check]) -> str:
    return "\n".join(_line(one) for one in checks) or "-"


def _line(one: Check) -> str:
    name = f"{one.of}: " if one.of else ""
    return f"{name}{one.wanted}" if one.as_wanted else f"✗ {name}found {one.found}; wanted {one.wanted}"
