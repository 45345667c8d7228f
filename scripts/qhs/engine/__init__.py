"""The deployment engine as every command of ours runs it: one environment, one way to run, one way to make a stack."""

from qhs.engine.environment import Engine, Home, prepare
from qhs.engine.run import EngineError, run_pulumi
from qhs.engine.said import Said, heard
from qhs.engine.stack import abandoned, configure, ensure_stack, forget, locks, make_stack

__all__ = [
    "Engine",
    "EngineError",
    "Home",
    "Said",
    "abandoned",
    "configure",
    "ensure_stack",
    "forget",
    "heard",
    "locks",
    "make_stack",
    "prepare",
    "run_pulumi",
]
