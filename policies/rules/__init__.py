"""The registry of rules. One property each; what they need to know of the law stands in the baseline."""

from __future__ import annotations

from typing import Any, Final

from policies.rules.base import Rule, idle, run
from policies.rules.flows import NoAny
from policies.rules.level import Level
from policies.rules.prefixes import NoOverlap
from policies.rules.reach import NoWayIn
from policies.rules.trace import Trace

REGISTRY: Final[tuple[type[Rule[Any]], ...]] = (Trace, Level, NoAny, NoWayIn, NoOverlap)

__all__ = ["REGISTRY", "Rule", "idle", "run"]
