"""`qhs hsm ceremony`: keys that are made from one reviewed script, by consent of several, before witnesses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.table import Table

from qhs import lock, trust_access, whole
from qhs.console import complain, progress, show
from qhs.environments import Environment
from qhs.errors import UserError
from qhs.hsm.ceremony import conduct, replay
from qhs.hsm.ceremony.script import ACTION, Ceremony, Script
from qhs.hsm.ceremony.steps import Bench
from qhs.hsm.ceremony.transcript import Transcript, TranscriptError
from qhs.reaching import settings, within
from qhs.twin.names import Twin
from stacks import signatures
from stacks.model import Estate, load
from stacks.provider.secret.stores import store
from stacks.provider.signing import devices
from stacks.signatures import SignatureError

app = typer.Typer(help=__doc__, no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The script, as it was reviewed.", exists=True, dir_okay=False)]
Written = Annotated[Path, typer.Argument(help="The transcript, as `run` wrote it.", exists=True, dir_okay=False)]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


class Plan(BaseModel):
    """What `plan --json` prints."""

    script: Ceremony
    digest: str
    quorum: int
    """How many must approve."""
    approvers: list[str]
    approve: str
    """The command that asks them to."""


@app.command()
def plan(file: File, as_json: AsJson = False) -> None:
    """What a script does, step by step, who must approve that, and how. Asks no device."""
    script = Script.read(file)
    estate = load(script.ceremony.environment)
    script.fit(estate)
    approvers = trust_access.approvers(Twin.here(), estate)
    found = Plan(
        script=script.ceremony,
        digest=script.digest,
        quorum=approvers.quorum,
        approvers=sorted(name for name, _ in signatures.known(approvers.signers)),
        approve=f"qhs approve new {ACTION} '{script.subject}' --reason WHY",
    )
    show(found, as_json, _table(script), *_consent(found))


@app.command()
def rehearse(file: File) -> None:
    """Carry a script out on a token that is gone afterwards; prints the transcript's file. Exit code 2: it stopped."""
    script, estate, twin = _fitting(file)
    _conducted(
        twin, lambda: conduct.rehearse(script, _bench(script, estate, twin, rehearsal=True), _at(twin), progress)
    )


@app.command()
def run(file: File) -> None:
    """Carry a script out that was rehearsed and is approved; prints the transcript's file. Exit code 2: it stopped.

    A ceremony is held once. A run that died is gone on with.
    """
    script, estate, twin = _fitting(file)
    approvers = trust_access.approvers(twin, estate)

    def held() -> Path:
        return conduct.run(script, _bench(script, estate, twin, rehearsal=False), approvers, _at(twin), progress)

    _conducted(twin, held)


@app.command()
def witness(
    transcript: Written,
    name: Annotated[str, typer.Option("--as", help="Who signs, as the script names them.")],
    key: Annotated[Path, typer.Option(help="The private key, or the public one of an agent's.", exists=True)],
) -> None:
    """Sign a transcript that went to its end. Needs nothing but the file and the witness's own key."""
    found, faults = replay.told(_read(transcript), transcript)
    if found is None or faults:
        raise UserError(f"{transcript}: {'; '.join(faults)}", "sign none that does not hold together")
    progress(f"{name} witnesses {found.script.subject}, transcript sha256:{found.transcript.head}")
    try:
        signed = replay.witness(found, name, key)
    except SignatureError as error:
        raise UserError(str(error), "sign with the key that the script names") from None
    whole.write(transcript, signed.text())


@app.command()
def verify(
    transcript: Written,
    rehearsal: Annotated[Path | None, typer.Option(help="The transcript of its rehearsal, to compare.")] = None,
    on_devices: Annotated[bool, typer.Option("--devices", help="Also ask the devices for their keys.")] = False,
    as_json: AsJson = False,
) -> None:
    """Replay a transcript: its chain, script, answers, approvals and witnesses.

    Whose approval counts is what `qhs approve approver` was told. Exit codes: 2 it is not so, 3 a device is silent.
    """
    twin, estate = Twin.here(), load(Environment.TWIN)
    found, report = replay.replayed(_read(transcript), transcript, trust_access.approvers(twin, estate))
    if found and rehearsal:
        report.faults += replay.differing(found, _read(rehearsal))
    if found and on_devices and not report.faults:
        if found.rehearsal:
            raise UserError(
                f"{transcript}: found a rehearsal, whose token is gone; wanted a ceremony", "without --devices"
            )
        found.script.fit(estate)
        bench = _bench(found.script, estate, twin, rehearsal=False)
        report.faults, report.gaps = within(twin, lambda: replay.on_devices(found, bench.tokens))
    head, *lines = _told(report)
    show(report, as_json, head, *lines)
    for line in () if as_json else (*report.faults, *report.gaps):
        complain(line)
    raise typer.Exit(report.code)


def _conducted(twin: Twin, hold: Callable[[], Path]) -> None:
    _at(twin).mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock.alone(_at(twin) / "lock", "a ceremony"):
        try:
            typer.echo(str(within(twin, hold)))
        except conduct.StoppedError as error:
            complain(f"{error}\n  way out: put right what it names, then run the same command again")
            raise typer.Exit(2) from None


def _fitting(file: Path) -> tuple[Script, Estate, Twin]:
    """A script of the estate that runs here."""
    script, estate = Script.read(file), load(Environment.TWIN)
    if script.ceremony.environment != Environment.TWIN:
        where = script.source.at("environment")
        raise UserError(
            f"{where}: found {script.ceremony.environment}; wanted {Environment.TWIN}, which runs here",
            "`qhs hsm ceremony plan` shows what it would do",
        )
    script.fit(estate)
    return script, estate, Twin.here()


def _bench(script: Script, estate: Estate, twin: Twin, *, rehearsal: bool) -> Bench:
    own, label = settings(estate, twin), script.token(rehearsal=rehearsal)
    site_of = {one: estate.machines[one].site for one in script.ceremony.devices}
    tokens = [devices.token(own, site, one, label) for one, site in site_of.items()]
    return Bench(label, tokens, [store(own, site) for site in dict.fromkeys(site_of.values())])


def _at(twin: Twin) -> Path:
    """Where transcripts lie."""
    return twin.state / "ceremonies"


def _read(path: Path) -> Transcript:
    try:
        return Transcript.read(path)
    except TranscriptError as error:
        raise UserError(str(error), "bring back the file as `run` and the witnesses left it") from None


def _table(script: Script) -> Table:
    """A line a step."""
    ceremony = script.ceremony
    rows = Table("step", "title", "does", "expects of each", title=f"{ceremony.name}: {ceremony.purpose}")
    for number, step in enumerate(ceremony.steps, 1):
        given = step.model_dump(exclude={"title", "do", "expect"})
        expects = [f"{name}: {value}" for name, value in step.expect.model_dump().items()]
        rows.add_row(str(number), step.title, " ".join([step.do, *given.values()]), "\n".join(expects))
    return rows


def _consent(found: Plan) -> list[str]:
    ceremony = found.script
    return [
        f"on {', '.join(ceremony.devices)} of {ceremony.environment}: the token {ceremony.token}",
        f"witnesses: {ceremony.witnesses.need} of {', '.join(ceremony.witnesses.keys)} sign the transcript",
        f"script: sha256:{found.digest}",
        f"approvals: {found.quorum} of {', '.join(found.approvers) or 'nobody yet: `qhs approve approver` names them'}",
        f"  {found.approve}",
        "  qhs approve sign FILE --as NAME --key KEY    # each of them",
    ]


def _told(report: replay.Replayed) -> list[str]:
    what = "rehearsal of" if report.rehearsal else "ceremony"
    lines = [f"{what} {report.ceremony}, token {report.token}"]
    lines += [f"script sha256:{report.digest}", f"transcript sha256:{report.head}"]
    if not report.rehearsal:
        lines += [f"approved by {', '.join(report.approved)}", f"witnessed by {', '.join(report.witnessed)}"]
    return lines
