"""`qhs approve`: consent of several people to what cannot be undone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from qhs import trust_access, whole
from qhs.console import progress
from qhs.environments import Environment
from qhs.errors import UserError
from qhs.twin.names import Twin
from stacks import signatures
from stacks.approvals import LONGEST, NAMESPACE, Approval, ApprovalError, Approvers, Statement
from stacks.model import load

app = typer.Typer(help=__doc__, no_args_is_help=True)
LONGEST_HOURS = int(LONGEST.total_seconds() // 3600)

File = Annotated[Path, typer.Argument(help="The approval, as `new` wrote it.", exists=True, dir_okay=False)]


@app.command()
def approver(
    name: Annotated[str, typer.Argument(help="By which approvals name this person's post.")],
    key: Annotated[Path, typer.Option(help="The person's public key, in OpenSSH's format.", exists=True)],
) -> None:
    """Let a person approve. Each has a key that nobody else can use."""
    known = _approvers().signers
    lines = known.read_text().splitlines() if known.is_file() else []
    kept = [line for line in lines if line.split()[0] != name]
    own = signatures.line(name, NAMESPACE, key.read_text())
    whole.write(known, "\n".join([*kept, own]) + "\n")


@app.command()
def new(
    action: Annotated[str, typer.Argument(help="`delete`, `change`, `ceremony`, or `promote`.")],
    subject: Annotated[str, typer.Argument(help="As the refusal, or the plan of the ceremony, named it.")],
    reason: Annotated[str, typer.Option(help="Why; approvers read it.")],
    hours: Annotated[int, typer.Option(help="For which it is good.", min=1, max=LONGEST_HOURS)] = 8,
) -> None:
    """Write an approval that nobody has signed yet; prints its file."""
    now = datetime.now(UTC).replace(microsecond=0)
    try:
        made = Statement.model_validate(
            {
                "action": action,
                "subject": subject,
                "reason": reason,
                "made": now,
                "expires": now + timedelta(hours=hours),
            }
        )
    except ValueError as error:
        raise UserError(f"no approval: {error}", "`qhs approve new --help`") from None
    path = _approvers().folder / f"{now:%Y%m%dT%H%M%S}-{subject.rpartition('::')[2]}.json"
    whole.write(path, Approval(statement=made).model_dump_json(indent=1) + "\n")
    typer.echo(str(path))


@app.command()
def sign(
    file: File,
    name: Annotated[str, typer.Option("--as", help="Who signs, as `approver` knows them.")],
    key: Annotated[Path, typer.Option(help="The private key, or the public one of an agent's.", exists=True)],
) -> None:
    """Sign what was read. Nothing but the approver's own key is used."""
    approval = _read(file)
    statement = approval.statement
    progress(f"{name} approves: {statement.action} {statement.subject}, until {statement.expires}: {statement.reason}")
    try:
        signed = approval.signed(name, key)
    except ApprovalError as error:
        raise UserError(str(error), "name the key of the approver") from None
    whole.write(file, signed.model_dump_json(indent=1) + "\n")


@app.command()
def check(file: File) -> None:
    """Who approved, and whether they are enough. Exit code 2: it does not count."""
    try:
        who = _approvers().judge(_read(file))
    except ApprovalError as error:
        progress(str(error))
        raise typer.Exit(2) from None
    typer.echo(", ".join(sorted(who)))


def _read(file: Path) -> Approval:
    try:
        return Approval.read(file)
    except ApprovalError as error:
        raise UserError(str(error), "`qhs approve new` writes one") from None


def _approvers() -> Approvers:
    return trust_access.approvers(Twin.here(), load(Environment.TWIN))
