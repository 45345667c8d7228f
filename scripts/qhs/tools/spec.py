"""What a tool is made of: `scripts/tools/<name>/tool.yaml`, checked."""

from pathlib import Path, PurePosixPath

import yaml
from packaging.version import Version
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qhs.errors import UserError
from qhs.folders import CLONE

TOOLS = CLONE / "scripts" / "tools"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModuleFile(_Strict):
    """A file of a Go module that the tool needs and that is never committed here."""

    module: str
    path: str
    into: str = "."
    """Folder beneath the tool's own."""


class OnPath(_Strict):
    """What an installed tool must be to be used in place of a build of ours."""

    programs: list[str] = Field(min_length=1)
    probe: list[str] = Field(min_length=1)
    """A command that prints the version."""
    at_least: str
    below: str
    """Pre-releases of this one count as it."""

    def fits(self, version: Version) -> bool:
        """Whether `version` lies in the accepted range."""
        return Version(self.at_least) <= version and Version(version.base_version) < Version(self.below)


class ToolSpec(_Strict):
    """One Go module whose `packages` are built into programs of the same last name."""

    name: str
    folder: Path
    version: str
    packages: list[str] = Field(min_length=1)
    stamps: dict[str, str] = {}
    """Linker variable to text; `{version}` stands for the version."""
    stripped: bool = False
    """Without what a debugger needs, which is a third: for what is copied to every machine."""
    sources: list[ModuleFile] = []
    """Copied beside the tool's own sources before the build."""
    ships: list[ModuleFile] = []
    """Copied beside the built programs."""
    on_path: OnPath | None = None
    needs_mib: int = Field(gt=0)
    """Free disk space that a build from nothing takes."""
    of: str = ""
    """The Go module that has this version, where the packages are ours around it."""

    @property
    def module(self) -> str:
        """The Go module of the programs."""
        return self.of or self.packages[0].partition("/cmd/")[0]

    @property
    def programs(self) -> list[str]:
        """Names of the built programs."""
        return [PurePosixPath(package).name for package in self.packages]


def load(name: str, tools: Path = TOOLS) -> ToolSpec:
    """The tool `name`. Raises UserError when there is none, or its file is wrong."""
    file = tools / name / "tool.yaml"
    try:
        content = yaml.safe_load(file.read_text())
        return ToolSpec(name=name, folder=file.parent, **content)
    except FileNotFoundError:
        known = ", ".join(names(tools))
        raise UserError(f"there is no tool {name!r} in {tools}", f"name one of: {known}") from None
    except (ValidationError, TypeError, yaml.YAMLError) as error:
        raise UserError(f"{file}: {error}", "correct that file") from None


def names(tools: Path = TOOLS) -> list[str]:
    """Every tool there is."""
    return sorted(file.parent.name for file in tools.glob("*/tool.yaml"))
