"""The tools that no registry carries as programs: taken from PATH where they fit, else built into the cache."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qhs.progress import Progress, silent
from qhs.tools import build, golang, installed, spec, store

__all__ = ["Tool", "built", "ensure", "look"]


@dataclass(frozen=True)
class Tool:
    """A tool that is there. `seconds` is what its build took, 0 for one from PATH."""

    name: str
    programs: dict[str, Path]
    version: str
    how: Literal["path", "cache", "built"]
    seconds: float


def ensure(
    names: Iterable[str],
    progress: Progress = silent,
    tools: Path = spec.TOOLS,
    free: store.FreeSpace = store.free_mib,
) -> dict[str, Tool]:
    """Every tool of `names`, by name, built if need be. Raises UserError; nothing half done is left behind."""
    return {name: look(name, tools) or _build(spec.load(name, tools), progress, free) for name in names}


def built(name: str, progress: Progress = silent) -> Tool:
    """The tool of this very version from the cache, built if need be, for what must be the same on every host.

    Raises UserError.
    """
    wanted = spec.load(name)
    return _build(wanted, progress, store.free_mib)


def look(name: str, tools: Path = spec.TOOLS) -> Tool | None:
    """The tool as it is on PATH or in the cache now, or None. Builds and fetches nothing."""
    wanted = spec.load(name, tools)
    if wanted.on_path and (found := installed.find(wanted.on_path)):
        programs, version = found
        return Tool(name, programs, str(version), "path", 0)
    kept = store.recall(name, build.key(wanted, golang.choose(golang.directive(wanted.folder))))
    return _tool(wanted, kept) if kept else None


def _build(wanted: spec.ToolSpec, progress: Progress, free: store.FreeSpace) -> Tool:
    go = golang.choose(golang.directive(wanted.folder))
    work = build.Build(wanted, go, progress, free)
    kept = store.keep(wanted.name, build.key(wanted, go), work.into, progress)
    if kept.fresh:
        progress(f"{wanted.name}: built {wanted.version} in {kept.seconds:.0f} s")
    return _tool(wanted, kept)


def _tool(wanted: spec.ToolSpec, kept: store.Kept) -> Tool:
    programs = {program: kept.folder / "bin" / program for program in wanted.programs}
    shipped = {Path(file.path).name: kept.folder / "bin" / file.into / Path(file.path).name for file in wanted.ships}
    return Tool(wanted.name, programs | shipped, wanted.version, "built" if kept.fresh else "cache", kept.seconds)
