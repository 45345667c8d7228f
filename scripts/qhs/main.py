"""`qhs`, the operator's command. Exit codes: 0 as wanted, 1 an error, 2 the answer is no, 3 incomplete."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from subprocess import CalledProcessError
from typing import Annotated

import typer

from policies import baseline
from qhs import closing, plan, role_docs, shell
from qhs import comply as complying
from qhs import up as ups
from qhs.approve.cli import app as approve
from qhs.bench.cli import app as bench
from qhs.cloud.cli import app as cloud
from qhs.console import complain, progress, screen, show
from qhs.containers.cli import app as images
from qhs.databases.cli import app as databases
from qhs.drill.cli import app as drill
from qhs.environments import Environment
from qhs.errors import UserError, explained
from qhs.folders import CLONE
from qhs.hsm.cli import app as hsm
from qhs.image.cli import app as image
from qhs.lease.cli import app as lease
from qhs.ledger.cli import app as ledger
from qhs.net.cli import app as net
from qhs.net.docs import write
from qhs.objects.cli import app as objects
from qhs.pki.cli import app as pki
from qhs.secret_stores.cli import app as secrets
from qhs.state.cli import app as state
from qhs.tools.cli import app as tools
from qhs.twin.cli import app as twin
from qhs.twin.names import Twin
from stacks.model import ModelError, load

app = typer.Typer(
    help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None
)
app.add_typer(twin, name="twin")
app.add_typer(image, name="image")
app.add_typer(images, name="images")
app.add_typer(cloud, name="cloud")
app.add_typer(net, name="net")
app.add_typer(pki, name="pki")
app.add_typer(hsm, name="hsm")
app.add_typer(approve, name="approve")
app.add_typer(state, name="state")
app.add_typer(secrets, name="secrets")
app.add_typer(lease, name="lease")
app.add_typer(drill, name="drill")
app.add_typer(ledger, name="ledger")
app.add_typer(databases, name="databases")
app.add_typer(objects, name="objects")
app.add_typer(bench, name="bench")
app.add_typer(tools, name="tools")

AsJson = Annotated[bool, typer.Option("--json", help="As JSON, on standard output.")]


@app.command()
def up(
    changed: Annotated[
        bool, typer.Option("--changed", help="Leave alone what is described as it was in the last run.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run the whole estate on this machine: image, machines, Ansible, Pulumi, packets."""
    report = ups.up(Environment.TWIN, progress, changed=changed)
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=1))
    else:
        screen.print(closing.table(report))
        for text in report.warnings:
            screen.print(text, markup=False, soft_wrap=True)
    for text in report.disagreements:
        complain(text)
    raise typer.Exit(2 if report.disagreements else 0)


@app.command()
def down() -> None:
    """Take the twin away: no process, mount, interface or namespace stays; its state goes too."""
    ups.down(progress)


@app.command("plan")
def plan_(environment: Environment, as_json: AsJson = False) -> None:
    """Preview every stack of an environment where nothing can be reached.

    Exit code 2: a policy says no; 3: it cannot say yet.
    """
    report = plan.plan(environment, progress)
    if as_json:
        typer.echo(json.dumps(asdict(report), indent=1))
    else:
        screen.print(plan.table(report), soft_wrap=True)
    raise typer.Exit(report.code)


@app.command()
def comply(as_json: AsJson = False) -> None:
    """Judge every machine of the running twin by the baseline's rules for machines.

    Exit code 2: a rule says no; 3: a machine could not be asked everything.
    """
    report = complying.comply(load(Environment.TWIN), Twin.here(), baseline.load())
    show(report, as_json, complying.table(report), *complying.lines(report))
    raise typer.Exit(report.code)


@app.command()
def docs() -> None:
    """Write roles/*/README.md from what each role declares."""
    for path in write(role_docs.documents(), role_docs.ROLES):
        typer.echo(path.relative_to(CLONE))


@app.command("shell", context_settings={"ignore_unknown_options": True})
def shell_(command: Annotated[list[str] | None, typer.Argument(help="Run this instead, after --.")] = None) -> None:
    """A shell inside the twin, where plain pulumi, ansible and ssh work on the estate."""
    shell.enter(command or [])


def main() -> None:
    """Run `qhs`; every error that a user can mend is one message and exit code 1."""
    try:
        code = app(standalone_mode=False)
    except typer.TyperException as error:
        complain(error.format_message() if isinstance(error, typer.BadParameter) else str(error))
        sys.exit(1)
    except (UserError, ModelError) as error:
        complain(str(error))
        sys.exit(1)
    except (OSError, CalledProcessError) as error:
        complain(str(explained(error)))
        sys.exit(1)
    except (KeyboardInterrupt, typer.Abort):
        complain("stopped; the same command goes on where it was")
        sys.exit(1)
    sys.exit(code or 0)
