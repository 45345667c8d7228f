"""`qhs net`: what the network lets through, proved, compared, drawn and written down."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from policies import baseline
from qhs.console import show
from qhs.environments import Environment
from qhs.errors import UserError
from qhs.net import docs as documents
from qhs.net import upkeep
from qhs.net.diff import difference, markdown, text
from qhs.net.map import draw
from qhs.net.probe import report as probe_report
from qhs.net.probe.agree import paper
from qhs.net.probe.cells import probes
from qhs.net.probe.run import run
from qhs.net.probe.vantage import vantages
from qhs.net.prove.live import answers, prove_live
from qhs.net.prove.plan import planned, prove_plan
from qhs.net.prove.report import report, table
from qhs.twin.names import Twin
from stacks.model import load
from stacks.model.source import REPO

app = typer.Typer(help=__doc__, no_args_is_help=True)

Env = Annotated[Environment, typer.Option("--env", help="Of which inventory.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, on standard output.")]
Live = Annotated[bool, typer.Option("--live", help="The twin that is up: rules as its kernels show them.")]


@app.command()
def prove(
    env: Env = Environment.TWIN,
    live: Live = False,
    as_json: AsJson = False,
) -> None:
    """Decide allow or deny for every cell from the planned rules. Exit code 2: a packet shows what is wrong.

    Exit code 3: a machine could not be asked, so nothing is decided.
    """
    if live:
        _only_twin(env)
    now = datetime.now(UTC)
    estate = load(env, now)
    proof = prove_live(estate, Twin.here(), now) if live else prove_plan(estate, now)
    done = report(proof, estate, now)
    show(done, as_json, table(done))
    raise typer.Exit(done.code)


@app.command()
def probe(
    sample: Annotated[
        bool, typer.Option("--sample", help="An allowed and a denied packet a service, zone, partner and protocol.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send real packets from every place of the twin to every service, and to what is none; then ask the rules.

    Exit code 2: a packet got through that no flow allows, or did not although one does; or, told apart, paper and
    packet disagree. Exit code 3: the rules of a machine could not be had.
    """
    now = datetime.now(UTC)
    estate, twin = load(Environment.TWIN, now), Twin.here()
    chosen = probes(estate, vantages(estate, twin), now, sample=sample)
    started = time.monotonic()
    results = run(twin, chosen)
    sent = probe_report.Sent(results, time.monotonic() - started, sample)
    done = probe_report.report(estate, now, sent, paper(estate, twin, now))
    show(done, as_json, probe_report.table(done))
    raise typer.Exit(done.code)


@app.command("report")
def report_(env: Env = Environment.TWIN, live: Live = False, as_json: AsJson = False) -> None:
    """What the owners of flows should look at again: rules that decide nothing, expiries, reviews, unused flows.

    Flows that let nothing through, and what staged ones would block, are told with --live.
    Exit code 3: a machine could not be asked.
    """
    now = datetime.now(UTC)
    estate = load(env, now)
    if live:
        _only_twin(env)
        told = answers(estate, Twin.here())
        listings = {name: answer.listing for name, answer in told.items()}
        done = upkeep.upkeep(estate, listings, now, {name: answer.booted for name, answer in told.items()})
    else:
        done = upkeep.upkeep(estate, planned(estate), now)
    show(done, as_json, upkeep.table(done))
    raise typer.Exit(done.code)


@app.command()
def diff(
    revision: Annotated[str, typer.Argument(metavar="REV", help="A commit, branch or tag.")],
    env: Env = Environment.PROD,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="For a comment on a pull request.")] = False,
) -> None:
    """Flows that the work tree newly allows and newly blocks, compared with a revision."""
    found = difference(revision, env, datetime.now(UTC))
    typer.echo(markdown(found) if as_markdown else text(found))


@app.command("map")
def map_(
    env: Env = Environment.PROD,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write it there, not on standard output.")
    ] = None,
) -> None:
    """The network as one SVG page: zones by trust, sites, outside networks, and who may talk to whom."""
    picture = draw(load(env))
    if to is None:
        typer.echo(picture, nl=False)
        return
    try:
        to.write_text(picture, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"cannot write {to}: {error.strerror}", "name a file in a folder that you may write to"
        ) from None


@app.command()
def docs() -> None:
    """Write docs/network: matrix, flows, map, where controls are judged, and the schema of proofs."""
    prod, twin = load(Environment.PROD), load(Environment.TWIN)
    written = documents.write(documents.documents(prod, twin, baseline.load()))
    for path in written:
        typer.echo(f"wrote {path.relative_to(REPO)}")
    if not written:
        typer.echo("docs/network is what the catalogue says")


def _only_twin(env: Environment) -> None:
    if env is not Environment.TWIN:
        raise UserError(
            f"found --live with --env {env}; wanted the twin: nothing else runs here", "leave one of them out"
        )
