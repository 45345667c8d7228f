"""The ledger of drills: the application whose rows an outside client writes, where that stands and whom it asks."""

from __future__ import annotations

from stacks.model import data, ingress, service_names
from stacks.model.estate import Estate, Place

TENANT = "dien-tap"
"""An application of its own: no drill writes among the rows of another, and what it has is made as theirs is."""
NAMES = "names"
"""The service that tells addresses."""


def databases_at(estate: Estate) -> str:
    """The public name of the databases that take writes."""
    return service_names.name(estate, data.SERVICE)


def application_at(estate: Estate) -> str:
    """The public name of the application."""
    return service_names.name(estate, ingress.label(TENANT))


def database(estate: Estate) -> str:
    """Its one database, and the role that alone comes in."""
    return estate.catalogue.tenants[TENANT].databases[0]


def application_zone(estate: Estate, site: str) -> Place:
    """Where a client of the databases stands at a site: in the segment of its application, whose flow lets it ask."""
    return estate.places[f"{site}.{estate.catalogue.tenants[TENANT].zone}"]


def people(estate: Estate) -> Place:
    """Where a client of the application stands: among people who may come to it, and at no centre that can be lost."""
    centres = data.members(estate)
    return next(
        one.source
        for one in estate.conversations
        if one.target.service == ingress.PEOPLE and one.source.site and one.source.site not in centres
    )
