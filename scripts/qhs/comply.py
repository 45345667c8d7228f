"""`qhs comply`: the baseline's rules judge what machines and clusters of the running twin say, and drills on record."""

from __future__ import annotations

import base64
import json
import re
import ssl
from collections import Counter
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field
from rich.table import Table

from policies.baseline import Baseline
from policies.facts import PlanFacts
from policies.known import Resource
from policies.live.answers import told
from policies.live.cluster import held, unasked
from policies.live.facts import TYPE, Host, LogStore, urn
from policies.rules import CLUSTER, LIVE, RECORDS, idle, run
from policies.rules.keeping_up import DATABASES, OBJECTS
from policies.verdicts import Outcome, Report
from qhs import trust_access, wan
from qhs.cloud.objects import asked
from qhs.drill.recorded import recorded
from qhs.folders import CLONE
from qhs.inventory import variables
from qhs.twin.asking import Answer, ask
from qhs.twin.names import Twin
from stacks.model import Estate, data, object_sync
from stacks.model.cloud import TENANT, places
from stacks.model.estate import APPLICATION, CONTROL, DATABASE, FIREWALL, HSM, WORKER, Machine
from stacks.model.objects import object_stores
from stacks.model.signing import TIME_STAMP

PROBE = CLONE / "policies" / "live" / "probe.py"
SHOWN = 6
"""Machines named in a line of the table; the JSON has all."""

ADDRESS = re.compile(r"(?<![\d.])\d+(?:\.\d+){3}(?![\d.])")
COPIES = {"object_sync_peers"}

type Gaps = dict[str, dict[str, str]]
type Clusters = tuple[PlanFacts, ...]
"""Each with what it holds."""


class Finding(BaseModel):
    """What one control says about one subject of one machine, of something in a cluster, or of what is on record."""

    outcome: Outcome
    control: str
    machine: str
    subject: str
    found: str
    wanted: str
    fix: str
    limit: str
    waiver: str


class ComplyReport(BaseModel):
    """What `qhs comply --json` prints."""

    environment: str
    at: datetime
    machines: int
    judged: dict[str, dict[Outcome, int]] = Field(description="by control, how many subjects came out how")
    findings: list[Finding] = Field(description="whatever did not pass")
    gaps: Gaps = Field(description="by machine, the facts that it could not be asked for, and why")
    errors: list[str] = Field(description="rules that raised, waivers that waive nothing")
    limits: list[str] = Field(description="what this environment cannot do, and what stands in for it")
    code: Literal[0, 1, 2, 3]


def comply(estate: Estate, twin: Twin, baseline: Baseline) -> ComplyReport:
    """Ask every machine and every cluster, all in parallel and each once, and judge what they say."""
    hosts = [host_of(estate, machine) for machine in estate.machines.values()]
    anchor = _anchor(trust_access.certificates(twin) / f"{estate.inventory.signing.authority}.pem")
    stamping = {host.name: (host.time_stamps_of, anchor) if host.time_stamps_of and anchor else () for host in hosts}
    answers = ask(twin, PROBE.read_text(), stamping)
    answered = [_told(host, answers[host.name]) for host in hosts]
    gaps = {host.name: missing for host, missing in answered if missing}
    clusters, silent = _clusters(estate, twin)
    records = (recorded(estate, twin, datetime.now(UTC)),)
    told_now = _sealed_since(twin, [host for host, _ in answered])
    return judge(estate, told_now, gaps | silent, baseline, clusters, records=records)


def _clusters(estate: Estate, twin: Twin) -> tuple[Clusters, Gaps]:
    """What stands in each; of one that does not answer nothing is known, and that it did not is a gap."""
    found: list[PlanFacts] = []
    gaps: Gaps = {}
    environment = estate.inventory.environment
    for site, said in asked(estate, twin).items():
        if isinstance(said, str):
            found.append(PlanFacts((silent := unasked(environment, site),)))
            gaps[silent.name] = {"anything": said}
        else:
            found.append(held_at(estate, site, said))
    return tuple(found), gaps


def held_at(estate: Estate, site: str, said: list[dict[str, Any]]) -> PlanFacts:
    """What a cluster holds, beside what the model says that it is to hold."""
    wanted = {place.name for place in places(estate, site)}
    return PlanFacts(tuple(held(estate.inventory.environment, site, said, wanted, TENANT)))


def _sealed_since(twin: Twin, hosts: list[Host]) -> tuple[Host, ...]:
    """The machines, and of log stores what they have sealed by now.

    They were asked at different moments: another one may have been told of a seal that came after its own store was.
    """
    keepers = {one.name: one for one in hosts if isinstance(one.log_store, LogStore)}
    later = ask(twin, PROBE.read_text(), dict.fromkeys(keepers, ()))
    for name, host in keepers.items():
        now = _told(host, later[name])[0].log_store
        if isinstance(now, LogStore) and isinstance(host.log_store, LogStore):
            heads = {"heads": now.heads}
            keepers[name] = host.model_copy(update={"log_store": host.log_store.model_copy(update=heads)})
    return tuple(keepers.get(one.name, one) for one in hosts)


def judge(
    estate: Estate,
    hosts: tuple[Host, ...],
    gaps: Gaps,
    baseline: Baseline,
    clusters: Clusters = (),
    *,
    records: tuple[Resource, ...] = (),
) -> ComplyReport:
    """Judge what machines and clusters have said, and what is on record."""
    limits = {name: limit.controls for name, limit in estate.inventory.limits.items()}
    everything: tuple[Resource, ...] = (*hosts, *records, *(one for cluster in clusters for one in cluster.resources))
    reports = [run(LIVE, PlanFacts(hosts), baseline, limits), run(RECORDS, PlanFacts(records), baseline, limits)]
    # A cluster by itself: names are its own.
    reports += [run(CLUSTER, cluster, baseline, limits) for cluster in clusters]
    report = Report(
        tuple(verdict for one in reports for verdict in one.verdicts),
        tuple(crash for one in reports for crash in one.crashes),
    )
    unused = [
        f"{one.control} {one.target}: {one.subject}: waives nothing"
        for one in idle(baseline.waivers, PlanFacts(everything), [report])
    ]
    errors = [*map(str, report.crashes), *unused]
    judged: dict[str, Counter[Outcome]] = {}
    for one in report.verdicts:
        judged.setdefault(one.control, Counter())[one.outcome] += 1
    names = {one.urn: one.name for one in everything}
    return ComplyReport(
        environment=estate.inventory.environment,
        at=datetime.now(UTC),
        machines=len(hosts),
        judged={control: dict(counts) for control, counts in judged.items()},
        findings=[
            Finding(machine=names[one.urn], **{key: value for key, value in vars(one).items() if key != "urn"})
            for one in report.verdicts
            if one.outcome is not Outcome.PASS
        ],
        gaps=gaps,
        errors=errors,
        limits=estate.inventory.limit_lines(),
        code=_code(errors, {one.outcome for one in report.verdicts}, gaps),
    )


def host_of(estate: Estate, machine: Machine) -> Host:
    """What the estate says of a machine; all that it says of itself is UNKNOWN."""
    zones = [estate.places.get(port.place) for port in machine.interfaces if port is not machine.management]
    pairs = [*(port.address for port in machine.interfaces), *machine.answers_at]
    held = [estate.catalogue.services[one.service] for one in machine.services]
    return Host(
        urn=urn(estate.inventory.environment, machine.name),
        type=TYPE,
        name=machine.name,
        site=machine.site,
        level=max(estate.catalogue.zones[one.zone].level for one in zones if one and one.zone),
        addresses=tuple(one.network_address for pair in pairs for one in pair.both),
        services=tuple(one.service for one in machine.services),
        takes_files=any(one.takes_files for one in held),
        public=any(one.public for one in held),
        firewall=FIREWALL in machine.roles,
        hsm_host=HSM in machine.roles,
        controls=CONTROL in machine.roles,
        node=WORKER in machine.roles,
        time_stamps_of=_time_stamps_of(estate, machine),
        may_lack_s=_may_lack(estate, machine),
        needs=needs(estate, machine),
        tunnels_wanted=wan.own_tunnels(estate, machine.site) if FIREWALL in machine.roles else (),
    )


def needs(estate: Estate, machine: Machine) -> dict[str, tuple[str, ...]]:
    """By variable of a machine's roles that names addresses of the estate the sites that they are of (C-DR-09).

    What is for copies alone names the other centre's, and nothing waits for it.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, value in variables(estate, machine).items():
        addresses = [ip_address(one) for one in ADDRESS.findall(json.dumps(value))]
        sites = [site for site, one in estate.inventory.sites.items() if any(it in one.ipv4 for it in addresses)]
        if sites and name not in COPIES:
            found[name] = tuple(sites)
    return found


def _may_lack(estate: Estate, machine: Machine) -> dict[str, float]:
    """Of what a machine has that may be a copy (C-DR-04)."""
    stores = {one.machine for one in object_stores(estate).values()}
    databases: dict[str, float] = {DATABASES: data.may_lack_seconds(estate)} if DATABASE in machine.roles else {}
    return databases | ({OBJECTS: object_sync.may_seconds(estate)} if machine.name in stores else {})


def table(done: ComplyReport) -> Table:
    """The report for a terminal: by control how many have which outcome."""
    counts = Table("control", *Outcome, title=f"{done.environment}: {done.machines} machines")
    for control, by in done.judged.items():
        counts.add_row(control, *(str(by.get(outcome, "")) for outcome in Outcome))
    return counts


def lines(done: ComplyReport) -> list[str]:
    """What did not pass, the worst first; then the limits of the environment."""
    found = list(done.errors)
    for outcome in (Outcome.VIOLATION, Outcome.UNDECIDED, Outcome.WAIVED, Outcome.LIMIT):
        found += _lines([one for one in done.findings if one.outcome is outcome])
    found += [
        f"incomplete, {name} did not say: {'; '.join(map(': '.join, why.items()))}" for name, why in done.gaps.items()
    ]
    return [*found, *done.limits]


def _time_stamps_of(estate: Estate, machine: Machine) -> str:
    served = {one.service for one in estate.served(machine.site)}
    asks = APPLICATION in machine.roles and TIME_STAMP in served
    return f"{TIME_STAMP}.{estate.domain(machine.site)}" if asks else ""


def _anchor(path: Path) -> str:
    """What the certificates of time-stamps must lead to, in DER and base64; empty: it has not come yet."""
    if not path.is_file():
        return ""
    return base64.b64encode(ssl.PEM_cert_to_DER_cert(path.read_text())).decode()


def _told(host: Host, answer: Answer) -> tuple[Host, dict[str, str]]:
    return (host, {"anything": answer.missing}) if answer.missing else told(host, json.loads(answer.said))


def _code(errors: list[str], outcomes: set[Outcome], gaps: Gaps) -> Literal[0, 1, 2, 3]:
    if errors:
        return 1
    if Outcome.VIOLATION in outcomes:
        return 2
    return 3 if gaps or Outcome.UNDECIDED in outcomes else 0


def _lines(found: list[Finding]) -> list[str]:
    """One line for what is wrong in the same way on several machines."""
    alike: dict[str, list[str]] = {}
    for one in found:
        said = f"found {one.found}; wanted {one.wanted}; {_end(one)}" if one.wanted else f"{one.found} is not known"
        alike.setdefault(f"{one.outcome}: {one.control} {one.subject}: {said}", []).append(one.machine)
    return [f"{said} ({len(names)}: {_some(names)})" for said, names in alike.items()]


def _end(one: Finding) -> str:
    ends = {Outcome.WAIVED: f"waived {one.waiver}", Outcome.LIMIT: f"limit {one.limit}"}
    return ends.get(one.outcome, f"fix: {one.fix}")


def _some(names: list[str]) -> str:
    left = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {left} more" if left > 0 else "")
