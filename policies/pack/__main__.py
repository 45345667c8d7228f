"""Started by the engine, through the Python language host. `PolicyPack` serves until it is told to stop."""

import sys

from pulumi_policy import EnforcementLevel, PolicyPack

from policies.baseline import load
from policies.pack.adapter import policies
from stacks.model.source import ModelError

try:
    found = policies(load())
except ModelError as error:
    sys.exit(f"the baseline cannot be read, so nothing is judged and nothing is let through:\n{error}")
PolicyPack("baseline", found, EnforcementLevel.MANDATORY)
