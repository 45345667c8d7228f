"""The `signing` layer of one site: who may what in its stores, its devices' tokens, keys and certificates."""

from __future__ import annotations

from pathlib import Path

import pulumi

from stacks import handed
from stacks.components.frozen import Freezes, frozen
from stacks.components.signing_site import SigningSite
from stacks.components.signing_token import SigningToken
from stacks.components.site_authority import SiteAuthority
from stacks.components.site_backups import SiteBackups
from stacks.components.site_clients import SiteClients
from stacks.components.site_objects import SiteObjects
from stacks.components.site_secrets import SiteSecrets
from stacks.model import Estate, bubble
from stacks.model.certificates import came, own
from stacks.model.kubernetes import clusters
from stacks.model.objects import object_stores, users
from stacks.model.signing import tokens


def declare(estate: Estate, site: str, certificates: Path | None, freezes: Freezes) -> None:
    """Declare everything behind the APIs of the site's devices; `certificates` is where those that came back lie.

    What lets applications into its object store is changed as `freezes` let it.
    """
    hooks = frozen(freezes.hook(lambda args: str((args.old_inputs or {})["name"])))
    signing = SigningSite(estate, site)
    inside = pulumi.ResourceOptions(parent=signing)
    secrets = SiteSecrets(estate, site, inside)
    after = pulumi.ResourceOptions(parent=signing, depends_on=[secrets])
    authority = SiteAuthority(estate, site, came(certificates, own(site)), after)
    pulumi.export("authority", authority.request)
    if store := object_stores(estate).get(site):
        objects = SiteObjects(site, store, users(estate, site), bubble.buckets(estate, site), after, hooks=hooks)
        SiteBackups(estate, site, store, pulumi.ResourceOptions(parent=signing, depends_on=[secrets, objects]))
    if site in clusters(estate):
        handed.CLIENTS.give(SiteClients(estate, site, after).certificate)
    declared = [SigningToken(estate, site, one, certificates, after) for one in tokens(estate)]
    pulumi.export("requests", {label: pem for one in declared for label, pem in one.requests.items()})
    pulumi.export("gaps", {title: gaps for one in declared for title, gaps in one.gaps.items()})
