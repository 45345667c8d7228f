"""The typed estate: catalogue + inventory → every prefix, address, name and rule, derived once. Imports no Pulumi."""

from stacks.model.estate import Estate
from stacks.model.load import load, read
from stacks.model.source import Finding, ModelError

__all__ = ["Estate", "Finding", "ModelError", "load", "read"]
