"""Which messages a rule can say, and which it has said."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from policies.rules import Rule
from policies.verdicts import Fault


@contextmanager
def messages(rule: type[Rule[Any]], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[set[int], set[int]]]:
    """The lines of a rule's module that make a fault, and those of them that have, by the end of the block."""
    module = sys.modules[rule.__module__]
    said_at: set[int] = set()

    def recorded(*args: str, **options: str) -> Fault:
        said_at.add(inspect.currentframe().f_back.f_lineno)  # type: ignore[union-attr]  # a call has a caller
        return Fault(*args, **options)

    calls = [node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.Call)]
    wanted = {node.lineno for node in calls if isinstance(node.func, ast.Name) and node.func.id == "Fault"}
    with monkeypatch.context() as patch:
        patch.setattr(module, "Fault", recorded)
        yield wanted, said_at
