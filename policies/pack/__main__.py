"""Started by the engine, through the Python language host. `PolicyPack` serves until it is told to stop."""

from pulumi_policy import EnforcementLevel, PolicyPack

from policies.baseline import load
from policies.pack.adapter import policies

PolicyPack("baseline", policies(load()), EnforcementLevel.MANDATORY)
