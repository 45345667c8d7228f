"""`qhs net docs`: the network's documents, written from the catalogue; a test fails on a hand edit of them (T-F01)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel

from policies.baseline import Baseline
from policies.rules import LIVE, REGISTRY
from qhs import whole
from qhs.net.map import draw
from qhs.net.probe.report import ProbeReport
from qhs.net.prove.report import ProveReport
from stacks.model import Estate
from stacks.model.estate import Conversation, Place
from stacks.model.source import REPO

FOLDER = REPO / "docs" / "network"
MADE = (
    "<!-- Written by `qhs net docs` from stacks/catalogue, inventories and policies: change those, not this file. -->\n"
)


def documents(estate: Estate, twin: Estate, baseline: Baseline) -> dict[str, str]:
    """Every document by its file's name; the same estates and baseline give the same bytes."""
    return {
        "controls.md": controls(baseline, twin),
        "flows.md": flows(estate),
        "map.svg": draw(estate),
        "matrix.md": matrix(estate),
        "probe.schema.json": _schema(ProbeReport),
        "prove.schema.json": _schema(ProveReport),
    }


def _schema(report: type[BaseModel]) -> str:
    return json.dumps(report.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def write(texts: Mapping[str, str], folder: Path = FOLDER) -> list[Path]:
    """Write what differs; the files that were written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in texts.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            whole.write(path, text)
            written.append(path)
    return written


def matrix(estate: Estate) -> str:
    """Zones by zones by services: who may talk to whom, then each allowed cell with its service and flow."""
    places = _order(estate)
    cells: dict[tuple[str, str], list[Conversation]] = defaultdict(list)
    for one in estate.conversations:
        cells[_name(one.source), _name(one.destination)].append(one)
    used = [name for name in places if any(name in pair for pair in cells)]
    zones = [name for name in used if name in estate.catalogue.zones]
    parts = [
        MADE,
        "# Ma trận luồng mạng / Network matrix\n",
        "Everything that is not listed here is denied (C-NET-02). Each cell holds for IPv4 and IPv6. A number is how\n"
        "many services the zone of the row may reach in the zone of the column. Outside networks follow below.\n",
        _table(
            ["from \\ to", *(f"`{name}`" for name in zones)],
            ([f"`{row}`", *(_count(cells.get((row, column), [])) for column in zones)] for row in zones),
        ),
    ]
    for name in used:
        found = {source: cells[source, name] for source in used if (source, name) in cells}
        if found:
            parts += [f"## To `{name}`: {_title(estate, name)}\n", _cells(estate, found)]
    return "\n".join(parts)


def flows(estate: Estate) -> str:
    """Each flow with what it is, who answers for it, what it serves, and until when it stands."""
    rows = []
    for name, flow in estate.catalogue.flows.items():
        until = f"expires {flow.expires:%d/%m/%Y %H:%M} UTC" if flow.expires else f"review {flow.review:%d/%m/%Y}"
        notes = [
            flow.scope,
            *(flow.sites or []),
            *(f"into {one}" for one in flow.into or []),
            *(["staged"] if flow.staged else []),
        ]
        rows.append(
            [
                f"`{name}`",
                f"{flow.title.vi} / {flow.title.en}",
                ", ".join(flow.source),
                ", ".join(flow.to),
                ", ".join(notes),
                estate.catalogue.owners[flow.owner].title.vi,
                ", ".join(flow.serves),
                until,
            ]
        )
    head = ["flow", "title", "from", "to services", "scope", "owner", "serves", "until"]
    return "\n".join([MADE, "# Luồng được phép / Allowed flows\n", _table(head, rows)])


def controls(baseline: Baseline, twin: Estate) -> str:
    """Where each control of the network is judged: on a plan, by packets, on machines, or later; and what limits it."""
    plan, host = ({kind.name for kind in kinds} for kinds in (REGISTRY, LIVE))
    rows = []
    for name, control in baseline.controls.items():
        if name.startswith("C-NET-"):
            limits = [limit for limit, one in twin.inventory.limits.items() if name in one.controls]
            judged = [set(control.rules) & plan, control.wire, set(control.rules) & host, limits]
            cells = [", ".join(f"`{one}`" for one in sorted(found)) for found in judged]
            rows.append([name, control.requirement, *cells[:3], control.later or "", cells[3]])
    return "\n".join(
        [
            MADE,
            "# Kiểm soát mạng / Controls of the network\n",
            "Rules judge every plan, and machines that run (`qhs comply`); `qhs net prove` and `probe` judge packets.\n"
            "`later` is the layer that will judge a control, or the rest of it. Limits are the twin's.\n",
            _table(["control", "requirement", "plan", "packets", "machines", "later", "limit"], rows),
        ]
    )


def _cells(estate: Estate, found: dict[str, list[Conversation]]) -> str:
    rows = []
    for source, conversations in found.items():
        by_service: dict[str, list[Conversation]] = defaultdict(list)
        for one in conversations:
            by_service[one.target.service].append(one)
        for service, ones in by_service.items():
            title = estate.catalogue.services[service].title
            named = ", ".join(f"`{flow}`" for flow in sorted({one.flow for one in ones}))
            ports = ", ".join(ones[0].target.ports)
            rows.append([f"`{source}`", f"{title.vi} / {title.en}", ports, _reach(ones), named])
    return _table(["from", "service", "ports", "between", "flow"], rows)


def _reach(ones: list[Conversation]) -> str:
    """The sites that it holds for: within one, from one to another, or between one and the outside."""
    pairs = sorted({(one.source.site, one.destination.site) for one in ones}, key=str)
    within = [str(source) for source, destination in pairs if source == destination]
    at = [str(source or destination) for source, destination in pairs if not (source and destination)]
    across = [f"{one} to {other}" for one, other in pairs if one and other and one != other]
    return "; ".join(
        f"{word}{', '.join(sites)}" for word, sites in (("within ", within), ("at ", at), ("", across)) if sites
    )


def _count(found: list[Conversation]) -> str:
    return str(len({one.target.service for one in found})) if found else ""


def _name(place: Place) -> str:
    return place.zone or place.partner or str(place.external)


def _title(estate: Estate, name: str) -> str:
    catalogue = estate.catalogue
    named = catalogue.zones.get(name) or catalogue.partners.get(name) or catalogue.externals[name]
    return f"{named.title.vi} / {named.title.en}"


def _order(estate: Estate) -> list[str]:
    return [*estate.catalogue.externals, *estate.catalogue.partners, *estate.catalogue.zones]


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)
