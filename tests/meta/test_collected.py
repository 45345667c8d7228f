"""No test is written in vain: what looks like a test is collected by a run that the Makefile names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from tests.meta.conftest import REPO

TESTS = REPO / "tests"


def suites(makefile: str) -> list[str]:
    """The folders that pytest runs on; qhs.soak runs it on tests/soak."""
    text = makefile.replace("qhs.soak", "pytest tests/soak")
    lines = [line for line in text.splitlines() if re.search(r"\bpytest\b", line)]
    return sorted({suite for line in lines for suite in re.findall(r"\btests/\w+", line)})


def written(file: Path) -> Iterator[str]:
    """Every test that a file defines, as pytest names it, without parameters."""
    for name in _names(ast.parse(file.read_text())):
        yield f"{file.relative_to(REPO)}::{name}"


def _names(module: ast.Module) -> Iterator[str]:
    for node in module.body:
        if _is_test(node):
            yield node.name
        elif isinstance(node, ast.ClassDef):
            yield from (f"{node.name}::{item.name}" for item in node.body if _is_test(item))


def _is_test(node: ast.stmt) -> TypeGuard[ast.FunctionDef | ast.AsyncFunctionDef]:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")


def test_every_test_lies_in_a_file_and_a_suite_that_pytest_looks_into() -> None:
    named = suites((REPO / "Makefile").read_text())
    lost = [
        str(file.relative_to(REPO))
        for file in sorted(TESTS.rglob("*.py"))
        if any(written(file))
        and not (file.name.startswith("test_") and any(file.is_relative_to(REPO / suite) for suite in named))
    ]
    assert lost == []


def test_every_test_is_collected() -> None:
    named = [suite for suite in suites((REPO / "Makefile").read_text()) if (REPO / suite).exists()]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-o", "addopts=", *named],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    collected = set(re.findall(r"^tests/\S+?::[\w:]+", run.stdout, re.MULTILINE))
    assert {one for file in TESTS.rglob("*.py") for one in written(file)} - collected == set()


def test_a_suite_is_a_folder_on_a_line_that_runs_pytest() -> None:
    assert suites("unit:\n\t@pytest -q -n 2 tests/unit tests/meta\n\techo tests/other\n\tpython -m qhs.soak\n") == [
        "tests/meta",
        "tests/soak",
        "tests/unit",
    ]


def test_tests_are_seen_in_modules_and_classes_async_or_not() -> None:
    source = (
        "async def test_a(): ...\nclass TestB:\n    def test_c(self): ...\n    def other(self): ...\ndef other(): ...\n"
    )
    assert list(_names(ast.parse(source))) == ["test_a", "TestB::test_c"]
