"""How long a machine that has stopped answering on SSH is waited for: it dies without telling anybody."""

INTERVAL = 10
"""Seconds of silence before each question."""
COUNT = 3
"""Questions without an answer, after which it is given up."""
