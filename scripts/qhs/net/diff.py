"""`qhs net diff REV`: which conversations a change opens and which it blocks (T-F05)."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from qhs.errors import UserError
from stacks.model import Estate, ModelError, read
from stacks.model.load import CATALOGUE, INVENTORIES
from stacks.model.source import REPO

FAMILIES = "IPv4, IPv6"  # a place has a prefix of each, and a flow holds for both
BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, order=True)
class Opening:
    """Ports of one service that a flow opens, from places to a place."""

    destination: str
    service: str
    flow: str
    owner: str
    sources: tuple[str, ...]
    ports: tuple[str, ...]

    @property
    def cells(self) -> tuple[str, ...]:
        """As a row: source, destination, service, ports, families, flow, owner."""
        sources, ports = ", ".join(self.sources), ", ".join(self.ports)
        return sources, self.destination, self.service, ports, FAMILIES, self.flow, self.owner


@dataclass(frozen=True)
class Difference:
    """Newly allowed and newly blocked conversations, in order."""

    since: str
    environment: str
    allowed: tuple[Opening, ...]
    blocked: tuple[Opening, ...]


class _Port(NamedTuple):
    """One port that is open between two places; which flow opens it, and at which address, is no part of it."""

    source: str
    destination: str
    service: str
    port: str


type _Open = dict[_Port, tuple[str, str]]


def difference(revision: str, environment: str, now: datetime, root: Path = REPO) -> Difference:
    """Compare the work tree with a revision. Raises UserError where that cannot be read, ModelError for the tree."""
    with TemporaryDirectory(prefix="qhs-diff-") as folder:
        before = _open(_estate_of(revision, environment, Path(folder), root), now)
    catalogue, inventory = _paths(environment)
    after = _open(read(root / catalogue, root / inventory / "estate.yaml", now), now)
    return Difference(revision, environment, _grouped(after, before), _grouped(before, after))


def text(found: Difference) -> str:
    """For a terminal."""
    if not (found.allowed or found.blocked):
        return f"{found.environment}: no conversation is opened or blocked since {found.since}"
    lines = []
    for title, openings in (("newly allowed", found.allowed), ("newly blocked", found.blocked)):
        lines.append(f"{title}: {len(openings)}")
        for one in openings:
            source, destination, service, ports, families, flow, owner = one.cells
            lines.append(f"  {source} -> {destination}  {service} {ports}  {families}  (flow {flow}, owner {owner})")
    return "\n".join(lines)


def markdown(found: Difference) -> str:
    """For a comment on a pull request."""
    parts = [f"### Network flows of `{found.environment}` since `{found.since}`\n"]
    for title, openings in (("Newly allowed", found.allowed), ("Newly blocked", found.blocked)):
        parts.append(f"**{title}: {len(openings)}**\n")
        if openings:
            parts.append("| source | destination | service | ports | families | flow | owner |")
            parts.append("|---|---|---|---|---|---|---|")
            parts += [f"| {' | '.join(one.cells)} |" for one in openings]
            parts.append("")
    return "\n".join(parts)


def _open(estate: Estate, now: datetime) -> _Open:
    flows = estate.catalogue.flows
    return {
        _Port(one.source.name, one.destination.name, one.target.service, port): (one.flow, flows[one.flow].owner)
        for one in estate.alive(now)
        for port in one.target.ports
    }


def _grouped(here: _Open, there: _Open) -> tuple[Opening, ...]:
    """What is open here and not there: ports together, then sources that have the same ports."""
    ports: dict[tuple[str, str, str, str, str], list[str]] = {}
    for one in sorted(here.keys() - there.keys()):
        ports.setdefault((one.destination, one.service, *here[one], one.source), []).append(one.port)
    sources: dict[tuple[str, str, str, str, tuple[str, ...]], list[str]] = {}
    for (*key, source), numbers in ports.items():
        destination, service, flow, owner = key
        sources.setdefault((destination, service, flow, owner, tuple(numbers)), []).append(source)
    return tuple(sorted(Opening(*key[:4], tuple(names), key[4]) for key, names in sources.items()))


def _estate_of(revision: str, environment: str, folder: Path, root: Path) -> Estate:
    paths = _paths(environment)
    way_out = "name a commit whose catalogue this version of qhs can read (git log -- stacks/catalogue)"
    if revision.startswith("-"):
        raise UserError(f"found {revision}; wanted a commit, branch or tag", way_out)
    archive = _git(root, ["archive", "--format=tar", revision, "--", *paths], way_out)
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    try:  # an expiry that has passed since is no fault of that revision
        return read(folder / paths[0], folder / paths[1] / "estate.yaml", BEFORE_ALL)
    except ModelError as error:
        raise UserError(f"{revision} holds no estate that can be read: {_first(error.findings)}", way_out) from None


def _paths(environment: str) -> list[str]:
    return [str(path.relative_to(REPO)) for path in (CATALOGUE, INVENTORIES / environment)]


def _git(root: Path, words: list[str], way_out: str) -> bytes:
    # The words are ours; a revision that looks like an option was refused.
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, check=False)
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(f"git {words[0]} {words[2]}: {reason[0] if reason else 'failed'}", way_out)
    return done.stdout


def _first(findings: Iterable[object]) -> str:
    all_of_them = [str(one) for one in findings]
    return all_of_them[0] + (f" (and {len(all_of_them) - 1} more)" if len(all_of_them) > 1 else "")
