"""The secret stores and devices of the suite's twin, as Pulumi's plugin reaches them."""

from __future__ import annotations

from collections.abc import Callable

from qhs import names_access, ruleset_access, trust_access
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import load, signing
from stacks.provider.secret.client import Store
from stacks.provider.secret.stores import store
from stacks.provider.settings import Settings
from stacks.provider.signing import devices
from stacks.provider.signing.devices import Token

ESTATE = load("twin")
DEVICES = {site: signing.devices(ESTATE, site) for site in signing.signing_sites(ESTATE)}
TOKENS = tuple(signing.tokens(ESTATE))
SOFTHSM = "sudo -u qhs-hsm env SOFTHSM2_CONF=/etc/qhs/hsm/softhsm2.conf softhsm2-util"
SITE_OF = {device: site for site, hosts in DEVICES.items() for device in hosts}


def settings(twin: Twin) -> Settings:
    return Settings(ruleset_access.write(twin), names_access.file(twin), trust_access.write(twin, ESTATE))


def of_store[T](twin: Twin, site: str, ask: Callable[[Store], T]) -> T:
    return inside.call(twin.netns_path(), lambda: ask(store(settings(twin), site)))


def of_token[T](twin: Twin, device: str, label: str, ask: Callable[[Token], T]) -> T:
    return inside.call(twin.netns_path(), lambda: ask(devices.token(settings(twin), SITE_OF[device], device, label)))


def pins(twin: Twin) -> dict[str, dict[str, str]]:
    """Those of every token of every device, by where they stand in the store of its site."""
    return {
        at: of_store(twin, site, lambda found, at=at: found.secret(at) or {})
        for site, hosts in DEVICES.items()
        for host in hosts
        for token in TOKENS
        for at in [devices.pins_at(host, token.label)]
    }
