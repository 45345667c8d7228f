"""Where everything can be there that the tests need, none is left out: QHS_NO_SKIP, which the Makefile sets as root."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator

import pytest

# A shell that starts the tests in the background has them ignore Ctrl-C, which some of them press.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a skip a failure, but one of a test that is marked as optional."""
    report = yield
    if report.skipped and os.environ.get("QHS_NO_SKIP") and not item.get_closest_marker("optional"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason}\nwanted: no skip, since QHS_NO_SKIP is set; mend what is missing, or unset it"
    return report
