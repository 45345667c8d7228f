"""Ansible's linear strategy over mitogen, on all processors.

Mitogen's own plugin ties its processes to processors; where there are fewer than four, all that Ansible does is tied to
one of them, also if several runs go on side by side.
"""

from __future__ import annotations

from ansible.plugins.strategy.linear import StrategyModule as Linear
from ansible_mitogen import affinity
from ansible_mitogen.strategy import StrategyMixin

affinity.policy = affinity.Policy()


class StrategyModule(StrategyMixin, Linear):
    """What `ANSIBLE_STRATEGY` names."""
