"""Where everything can be there that the tests need, none is left out: QHS_NO_SKIP, which the Makefile sets as root."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a skip a failure, but one of a test that is marked as optional."""
    report = yield
    if report.skipped and os.environ.get("QHS_NO_SKIP") and not item.get_closest_marker("optional"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason}\nwanted: no skip, since QHS_NO_SKIP is set; mend what is missing, or unset it"
    return report
