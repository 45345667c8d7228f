"""C-PD-01: nobody reads personal data without a trace."""

from __future__ import annotations

from collections.abc import Iterator

from policies.facts import Database
from policies.known import Resource, known
from policies.rules.base import Rule
from policies.verdicts import Fault
from stacks.model.data import LOGGED


class Traced(Rule[Database]):
    """Where a database holds personal data, the servers log every statement."""

    control = "C-PD-01"
    name = "traced"

    def subjects(self, resource: Resource) -> Iterator[tuple[str, Database]]:
        if isinstance(resource, Database):
            yield "log", resource

    def judge(self, resource: Resource, subject: Database) -> Iterator[Fault]:
        information = known(subject.information, "information")
        if information == LOGGED and not known(subject.logged, "logged"):
            yield Fault(f"{information} data, of which nothing is logged", "a log of every statement", "`pulumi up`")
