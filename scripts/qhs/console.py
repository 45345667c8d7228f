"""What a person sees: progress on standard error, results on standard output."""

from __future__ import annotations

import sys
import time

import typer
from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.markup import escape

_started = time.monotonic()
# Without emoji: `:a:` in an IPv6 address would become one.
screen = Console(width=None if sys.stdout.isatty() else 140, emoji=False)
_side = Console(stderr=True, highlight=False, emoji=False)


def progress(line: str) -> None:
    """One line of progress, with the seconds since the command began."""
    _side.print(f"[dim]{time.monotonic() - _started:6.1f} s[/dim]  {escape(line)}", soft_wrap=True)


def show(report: BaseModel, as_json: bool, people: RenderableType, *lines: str) -> None:
    """A command's result on standard output: as JSON, or for people, what does not fit a table in lines below it."""
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
        return
    screen.print(people, markup=False)
    for line in lines:
        screen.print(line, markup=False, soft_wrap=True)


def complain(text: str) -> None:
    """Why a command could not do what it was asked."""
    _side.print(f"[bold red]qhs:[/bold red] {escape(text)}", soft_wrap=True)
