"""`qhs cloud reach`: what each application reaches of services and of other applications, tried from inside (T-F03)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, Field
from rich.table import Table

from qhs.cloud.asking import Said
from qhs.cloud.status import asked
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.addresses import Pair
from stacks.model.cloud import TenantPlace, places

OPEN = "open"
DNS = "tcp/53"


@dataclass(frozen=True)
class Target:
    """One address and port, and what answers there: a service, or an application's own part."""

    address: str
    port: int
    what: str


class ReachReport(BaseModel):
    """What `qhs cloud reach --json` prints."""

    environment: str
    cells: int = Field(description="connections tried: each application, from each of its sites, each target")
    open: int
    wrong: list[str]
    unanswered: dict[str, int] = Field(description="by service, how many were let through and found nobody")
    silent: dict[str, str] = Field(description="by application or site, why it says nothing")
    code: Literal[0, 2, 3]


def reach(estate: Estate, twin: Twin) -> ReachReport:
    """Two rounds: who is there, and who reaches whom."""
    there, silent = asked(estate, twin, "pods")
    targets = [*_services(estate), *_pods(estate, there)]
    given = json.dumps([(one.address, one.port) for one in targets])
    said, mute = asked(estate, twin, "reach", given)
    report = judged(estate, said, targets)
    report.silent |= silent | mute
    report.code = 3 if report.silent else report.code
    return report


def judged(estate: Estate, said: Mapping[str, Said], targets: list[Target]) -> ReachReport:
    """What was found against what the model says. Asks nobody."""
    cells, found_open, unanswered = 0, 0, Counter[str]()
    wrong: list[str] = []
    silent: dict[str, str] = {}
    for site, one in said.items():
        wrong += _strangers(estate, site, one)
        for place in places(estate, site):
            if not place.copies:
                continue
            answers = one.answers.get(place.name, [])
            if len(answers) != len(targets):
                few = f"found {len(answers)} answers; wanted {len(targets)}"
                silent[f"{place.name} at {site}"] = one.silent.get(place.name, few)
                continue
            own = {address for pod in one.pods if pod.tenant == place.name for address in pod.addresses}
            let = _let(place)
            for target, found in zip(targets, answers, strict=True):
                cells += 1
                found_open += found == OPEN
                wanted = (target.address, target.port) in let or target.address in own
                if found == OPEN and not wanted:
                    wrong.append(f"{place.name} at {site} reaches {target.what} ({target.address}/{target.port})")
                elif found != OPEN and target.address in own:
                    wrong.append(f"{place.name} at {site} does not reach its own part {target.address}")
                elif found != OPEN and wanted:
                    unanswered[target.what] += 1
    return ReachReport(
        environment=estate.inventory.environment,
        cells=cells,
        open=found_open,
        wrong=wrong,
        unanswered=dict(unanswered),
        silent=silent,
        code=2 if wrong else 0,
    )


def table(report: ReachReport) -> Table:
    """The sums, and each thing that is not as the model says."""
    rows = Table("", "", show_header=False)
    rows.add_row("tried", str(report.cells))
    rows.add_row("open", str(report.open))
    rows.add_row("let through, nobody there", ", ".join(f"{name} {n}" for name, n in report.unanswered.items()) or "-")
    rows.add_row("not as the model says", "\n".join(report.wrong) or "-")
    return rows


def _services(estate: Estate) -> Iterator[Target]:
    """All TCP ports of all services inside the estate, and SSH of every machine; of a range its first."""
    sites = [estate.inventory.sites[site] for site in estate.active_sites]
    found = {(address, 22): f"ssh of {one.name}" for one in estate.machines.values() for address in one.addresses}
    for one in (conversation.target for conversation in estate.conversations):
        for pair in one.targets:
            if pair.ipv4.num_addresses == 1 and any(pair.ipv4.overlaps(site.ipv4) for site in sites):
                ports = estate.catalogue.services[one.service].ports
                found |= dict.fromkeys(_each([pair], ports), f"{one.service} at {one.place}")
    for (address, port), what in found.items():
        yield Target(address, port, what)


def _pods(estate: Estate, said: Mapping[str, Said]) -> Iterator[Target]:
    for site, one in said.items():
        ports = {place.name: _ports(place.ports) for place in places(estate, site)}
        for pod in one.pods:
            for address in pod.addresses:
                for port in ports.get(pod.tenant, []):
                    yield Target(address, port, f"{pod.tenant} at {site}")


def _strangers(estate: Estate, site: str, said: Said) -> Iterator[str]:
    """Nobody knows what these may reach, or on which ports they answer."""
    known = {place.name for place in places(estate, site)}
    for pod in said.pods:
        if pod.tenant not in known:
            yield f"{pod.tenant} at {site}: found the canary {pod.name}; wanted none, as the model knows no such place"


def _let(place: TenantPlace) -> set[tuple[str, int]]:
    """What the model lets the parts of an application reach, beside each other."""
    found = set(_each([place.names], [DNS]))
    for one in place.reaches:
        found |= set(_each(one.addresses, one.ports))
    return found


def _each(pairs: Iterable[Pair], ports: Iterable[str]) -> Iterator[tuple[str, int]]:
    for pair in pairs:
        for address in pair.texts():
            for port in _ports(ports):
                yield address, port


def _ports(texts: Iterable[str]) -> list[int]:
    return [int(text.removeprefix("tcp/").partition("-")[0]) for text in texts if text.startswith("tcp/")]
