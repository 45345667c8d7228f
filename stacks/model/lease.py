"""The lease of the estate, which says which site is active: who keeps it, and for how long it is good."""

from __future__ import annotations

from stacks.model.certificates import service_name
from stacks.model.estate import DATABASE, LEASE, Estate, Machine

SECONDS = 15
"""For which it is good unless it is renewed; a design choice."""
READ_ONLY_AFTER = 10
"""Seconds after the last renewal at which a site's databases take no writes any more. What is left until another site
may have the lease is for who sees to that to be begun anew, should it have fallen silent."""


def members(estate: Estate) -> dict[str, str]:
    """The address of each machine of the store, by its name."""
    return {one.name: one.addresses[0] for one in _members(estate)}


def names(estate: Estate) -> list[str]:
    """What they are called in their certificates."""
    return [service_name(estate, LEASE, one.site) for one in _members(estate)]


def holders(estate: Estate) -> dict[str, str]:
    """The machines whose databases take writes by it, each with its site; those of the other centre are copies."""
    return {one.name: one.site for site in estate.active_sites for one in estate.with_role(site, DATABASE)}


def doors(estate: Estate, machine: Machine) -> list[str]:
    """Where a machine renews, at its own site first."""
    return [one.addresses[0] for one in sorted(_members(estate), key=lambda one: one.site != machine.site)]


def _members(estate: Estate) -> list[Machine]:
    return [one for site in estate.active_sites for one in estate.with_role(site, LEASE)]
