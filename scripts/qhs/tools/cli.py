"""`qhs tools`: what is there, and building the rest."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from qhs.progress import Progress
from qhs.tools import Tool, ensure, look, spec

app = typer.Typer(help="Programs that are built from source here.", no_args_is_help=True)
_console = Console()
_progress = Console(stderr=True)


@app.command()
def build(
    names: Annotated[
        list[str] | None, typer.Argument(help="Tools; all of them when none is named.", show_default=False)
    ] = None,
) -> None:
    """Take each tool from PATH or the cache, or build it."""
    with _shown() as progress:
        tools = [ensure([name], progress)[name] for name in names or spec.names()]
    _console.print(_table({tool.name: tool for tool in tools}))


@app.command("list")
def list_(as_json: Annotated[bool, typer.Option("--json", help="For programs to read.")] = False) -> None:
    """Show every tool: its version, and whether it is on PATH, in the cache or not built yet."""
    tools = {name: look(name) for name in spec.names()}
    if as_json:
        typer.echo(json.dumps({name: _row(name, tool) for name, tool in tools.items()}, indent=2))
    else:
        _console.print(_table(tools))


def _row(name: str, tool: Tool | None) -> dict[str, object]:
    if tool is None:
        return {"version": spec.load(name).version, "state": "not built", "seconds": None, "programs": {}}
    programs = {program: str(path) for program, path in tool.programs.items()}
    return {"version": tool.version, "state": tool.how, "seconds": tool.seconds, "programs": programs}


def _table(tools: dict[str, Tool] | dict[str, Tool | None]) -> Table:
    table = Table("tool", "version", "state", "build, s", "programs")
    for name, tool in tools.items():
        row = _row(name, tool)
        programs = " ".join(spec.load(name).programs)
        table.add_row(name, str(row["version"]), str(row["state"]), str(row["seconds"] or "-"), programs)
    return table


@contextmanager
def _shown() -> Iterator[Progress]:
    """A line that moves on a terminal, plain lines elsewhere."""
    if not _progress.is_terminal:
        yield lambda line: _progress.print(line, markup=False, highlight=False, soft_wrap=True)
        return
    with _progress.status("looking") as status:
        yield status.update
