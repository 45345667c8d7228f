"""`qhs net diff REV`: which conversations a change opens and which it blocks (T-F05)."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from qhs.errors import UserError
from stacks.model import Estate, ModelError, read
from stacks.model.load import CATALOGUE, INVENTORIES
from stacks.model.source import REPO


@dataclass(frozen=True, order=True)
class Opening:
    """What one flow lets through between two places, in both families where the prefixes are."""

    source: str
    destination: str
    service: str
    ports: tuple[str, ...]
    families: str
    flow: str
    owner: str


@dataclass(frozen=True)
class Difference:
    """Newly allowed and newly blocked conversations, in order."""

    since: str
    environment: str
    allowed: tuple[Opening, ...]
    blocked: tuple[Opening, ...]


def difference(revision: str, environment: str, now: datetime) -> Difference:
    """Compare the work tree with a revision. Raises UserError where that cannot be read, ModelError for the tree."""
    with TemporaryDirectory(prefix="qhs-diff-") as folder:
        before = _openings(_estate_of(revision, environment, Path(folder), now), now)
    after = _openings(read(CATALOGUE, INVENTORIES / environment / "estate.yaml", now), now)
    return Difference(revision, environment, tuple(sorted(after - before)), tuple(sorted(before - after)))


def text(found: Difference) -> str:
    """For a terminal."""
    if not (found.allowed or found.blocked):
        return f"{found.environment}: no conversation is opened or blocked since {found.since}"
    return "\n".join(
        f"{mark} {one.source} -> {one.destination} {one.service} {' '.join(one.ports)} {one.families} "
        f"(flow {one.flow}, owner {one.owner})"
        for mark, openings in (("+", found.allowed), ("-", found.blocked))
        for one in openings
    )


def markdown(found: Difference) -> str:
    """For a comment on a pull request."""
    parts = [f"### Network flows of `{found.environment}` since `{found.since}`\n"]
    for title, openings in (("Newly allowed", found.allowed), ("Newly blocked", found.blocked)):
        parts.append(f"**{title}: {len(openings)}**\n")
        if openings:
            parts.append("| source | destination | service | ports | families | flow | owner |\n|---|---|---|---|---|---|---|")
            parts += [_row(one) for one in openings]
            parts.append("")
    return "\n".join(parts)


def _row(one: Opening) -> str:
    cells = (one.source, one.destination, one.service, " ".join(one.ports), one.families, one.flow, one.owner)
    return f"| {' | '.join(cells)} |"


def _openings(estate: Estate, now: datetime) -> set[Opening]:
    """Conversations that are allowed at `now`, addresses left out: a renumbering opens nothing."""
    flows = estate.catalogue.flows
    return {
        Opening(
            source=one.source.name,
            destination=one.destination.name,
            service=one.target.service,
            ports=one.target.ports,
            families="IPv4 IPv6",
            flow=one.flow,
            owner=flows[one.flow].owner,
        )
        for one in estate.conversations
        if (expires := flows[one.flow].expires) is None or expires > now
    }


def _estate_of(revision: str, environment: str, folder: Path, now: datetime) -> Estate:
    paths = [str(path.relative_to(REPO)) for path in (CATALOGUE, INVENTORIES / environment)]
    way_out = "name a commit whose catalogue this version of qhs can read (git log -- stacks/catalogue)"
    if revision.startswith("-"):
        raise UserError(f"found {revision}; wanted a commit, branch or tag", way_out)
    archive = _git(["archive", "--format=tar", revision, "--", *paths], way_out)
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    try:
        return read(folder / paths[0], folder / paths[1] / "estate.yaml", now)
    except ModelError as error:
        raise UserError(f"{revision} holds no estate that can be read: {_first(error.findings)}", way_out) from None


def _git(words: list[str], way_out: str) -> bytes:
    done = subprocess.run(["git", "-C", str(REPO), *words], capture_output=True, check=False)  # noqa: S603 - a fixed program
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise UserError(f"git {words[0]} {words[2]}: {reason[0] if reason else 'failed'}", way_out)
    return done.stdout


def _first(findings: Iterable[object]) -> str:
    all_of_them = [str(one) for one in findings]
    return all_of_them[0] + (f" (and {len(all_of_them) - 1} more)" if len(all_of_them) > 1 else "")
