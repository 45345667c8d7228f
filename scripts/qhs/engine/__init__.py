"""The deployment engine as every command of ours runs it: one environment, one way to run, one way to make a stack."""

from qhs.engine.environment import Engine, prepare
from qhs.engine.run import EngineError, run_pulumi
from qhs.engine.said import Said, heard
from qhs.engine.stack import configure, ensure_stack

__all__ = ["Engine", "EngineError", "Said", "configure", "ensure_stack", "heard", "prepare", "run_pulumi"]
