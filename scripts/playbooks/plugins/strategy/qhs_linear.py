"""Ansible's linear strategy over mitogen, on all processors.

Mitogen's own plugin ties its processes to processors: of two, all that Ansible does gets one, and several runs side by
side the same one.
"""

from __future__ import annotations

from ansible.plugins.strategy.linear import StrategyModule as Linear
from ansible_mitogen import affinity
from ansible_mitogen.strategy import StrategyMixin

affinity.policy = affinity.Policy()


class StrategyModule(StrategyMixin, Linear):
    """What `ANSIBLE_STRATEGY` names."""
