"""The `cloud` layer of one site: what its cluster's own parts may, and a place in it for each application."""

from __future__ import annotations

from stacks import handed
from stacks.components.cloud_tenant import CloudTenant
from stacks.components.frozen import Freezes, frozen
from stacks.components.site_cloud import SiteCloud
from stacks.model import Estate
from stacks.model.cloud import places
from stacks.model.given import SIGNS, given


def declare(estate: Estate, site: str, freezes: Freezes) -> None:
    """Declare everything behind the API of a site's cluster; what applications have is changed as `freezes` let it."""
    hooks = frozen(freezes.hook(lambda args: whose(site, args.type, args.name)))
    around = SiteCloud(estate, site, handed.CLIENTS.take())
    for place in places(estate, site):
        CloudTenant(place, given(estate, site, place), around, hooks)


def whose(site: str, kind: str, name: str) -> str:
    """The application that a resource of this kind and name is part of: each is called after it, by a word more."""
    own = name.removeprefix(f"{site}-").rpartition("-")[0]
    return own.removeprefix(SIGNS) if kind.startswith("qhs:") else own
