#!/usr/bin/python3
"""Writes the alerts that an alertmanager posts to standard output, a line each: the journal's, by systemd.

Started with the connection as standard input; it answers one request and ends.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

LARGEST = 1_000_000  # bytes of a request
PATIENCE = 10  # seconds for the next word
# As systemd reads them at the start of a line: critical, warning, notice.
PRIORITY = {"critical": 2, "warning": 4}
RESOLVED = 5


def lines(told: dict[str, Any]) -> Iterator[str]:
    """What is written of one message: its state, the rule, where, how grave, what is wrong and what helps."""
    for alert in told["alerts"]:
        labels, said = alert["labels"], alert["annotations"]
        firing = alert["status"] == "firing"
        level = PRIORITY[labels["severity"]] if firing else RESOLVED
        words = (alert["status"], labels["alertname"], labels.get("instance", "-"), labels["severity"])
        yield f"<{level}>{' '.join(words)}: {said['summary']}" + (f"; {said['action']}" if firing else "")


class Journal(BaseHTTPRequestHandler):
    """`POST /`, with the message as JSON."""

    timeout = PATIENCE

    def do_POST(self) -> None:
        """Write first, then say so: an alertmanager that hears nothing tries again."""
        length = int(self.headers["Content-Length"])
        if length > LARGEST:
            self.send_error(413)
            return
        for line in lines(json.loads(self.rfile.read(length))):
            print(line, flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """The alerts themselves are what is written."""


def main() -> None:
    """Entry point."""
    with socket.socket(fileno=0) as connection:
        Journal(connection, connection.getpeername(), None)  # type: ignore[arg-type]  # no server stands behind it


if __name__ == "__main__":
    main()
