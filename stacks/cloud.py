"""The `cloud` layer of one site: what its cluster's own parts may, and a place in it for each application."""

from __future__ import annotations

from datetime import date

from stacks import handed
from stacks.approvals import Approvers
from stacks.components.cloud_tenant import CloudTenant
from stacks.components.frozen import frozen
from stacks.components.site_cloud import SiteCloud
from stacks.model import Estate
from stacks.model.cloud import places
from stacks.model.given import given


def declare(estate: Estate, site: str, approvers: Approvers | None, today: date) -> None:
    """Declare everything behind the API of the cluster of `site`; `today` is that of Viet Nam."""
    around = SiteCloud(estate, site, handed.CLIENTS.take())
    for place in places(estate, site):
        CloudTenant(place, given(estate, site, place), around, frozen(place, approvers, today))
