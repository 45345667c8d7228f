"""YAML that remembers where each value stands, so that every refusal names file and line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

REPO = Path(__file__).resolve().parents[2]

type KeyPath = tuple[str | int, ...]


_BOOL = "tag:yaml.org,2002:bool"


class _Loader(yaml.CSafeLoader):
    """Booleans as YAML 1.2 has them: the key `on` is a word, not true."""

    yaml_implicit_resolvers = {
        first: [one for one in resolvers if one[0] != _BOOL]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(true|false)$"), ["t", "f"])


@dataclass(frozen=True, order=True)
class Finding:
    """One thing wrong with the data: where it stands, what was found, what is wanted."""

    where: str
    found: str
    wanted: str

    def __str__(self) -> str:
        return f"{self.where}: found {self.found}; wanted {self.wanted}"


class ModelError(Exception):
    """The data cannot become an estate. Carries every finding, not only the first."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = sorted(set(findings))
        super().__init__("\n".join(str(finding) for finding in self.findings))


class Source:
    """One YAML file: its data, and the line of every key path in it. `text` is what it holds, where that was read."""

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        self._places: dict[KeyPath, str] = {}
        self._loader = _Loader("")
        try:
            node = yaml.compose(path.read_text(encoding="utf-8") if text is None else text, Loader=_Loader)
            self.data: Any = self._build(node, ()) if node else {}
        except FileNotFoundError:
            raise ModelError([Finding(self.name, "no such file", "a YAML file")]) from None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ModelError([Finding(f"{self.name}:{line}", str(error.problem), "valid YAML")]) from None

    @classmethod
    def join(cls, parts: dict[str, Source]) -> Source:
        """Several files as one: each under its own key, each value still known by its own file and line."""
        joined = cls.__new__(cls)
        joined.path = next(iter(parts.values())).path.parent
        joined.data = {key: part.data for key, part in parts.items()}
        joined._places = {(key, *path): at for key, part in parts.items() for path, at in part._places.items()}
        return joined

    @cached_property
    def name(self) -> str:
        """The file's name as users know it: relative to the repository where it lies there."""
        return str(self.path.relative_to(REPO)) if self.path.is_relative_to(REPO) else str(self.path)

    def at(self, *path: str | int) -> str:
        """`file:line` of a key path; of its nearest parent where the key itself is missing."""
        for end in range(len(path), -1, -1):
            if path[:end] in self._places:
                return self._places[path[:end]]
        return f"{self.name}:1"

    def parse[M: BaseModel](self, model: type[M]) -> M:
        """Validate the whole file as `model`; raises ModelError with a finding for every fault."""
        try:
            return model.model_validate(self.data)
        except ValidationError as error:
            raise ModelError(map(self._finding, error.errors())) from None

    def _finding(self, item: ErrorDetails) -> Finding:
        name = ".".join(map(str, item["loc"]))
        if name.endswith(".[key]"):
            return Finding(self.at(*item["loc"]), f"the key {name.removesuffix('.[key]')}", item["msg"])
        if item["type"] == "missing":
            return Finding(self.at(*item["loc"]), f"no {name}", "one: it is required")
        found = f"{name} = {_shown(item['input'])}" if name else _shown(item["input"])
        return Finding(self.at(*item["loc"]), found, item["msg"].removeprefix("Value error, "))

    def _build(self, node: yaml.Node, path: KeyPath) -> Any:
        self._places.setdefault(path, f"{self.name}:{node.start_mark.line + 1}")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._build(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._loader.construct_object(node)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self._loader.construct_object(key_node)
            line = key_node.start_mark.line + 1
            if not isinstance(key, str | int):
                raise ModelError([Finding(f"{self.name}:{line}", f"a key that is a {key_node.id}", "a word")])
            if key in result:
                first = self.at(*path, key)
                raise ModelError([Finding(f"{self.name}:{line}", f"{key} twice (first {first})", "it once")])
            self._places[(*path, key)] = f"{self.name}:{line}"
            result[key] = self._build(value_node, (*path, key))
        return result


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."  # noqa: PLR2004 - one line of a terminal
