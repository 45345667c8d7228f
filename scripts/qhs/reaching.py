"""The machines of a twin as the engine's plugin reaches them, for commands of ours that ask the same."""

from __future__ import annotations

from collections.abc import Callable

from qhs import names_access, ruleset_access, trust_access
from qhs.errors import UserError
from qhs.twin import inside
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.provider.secret.client import StoreError
from stacks.provider.settings import ProviderError, Settings
from stacks.provider.signing.device import DeviceError
from stacks.provider.storage.client import ObjectsError


def settings(estate: Estate, twin: Twin) -> Settings:
    """As the plugin has them."""
    return Settings(ruleset_access.write(twin), names_access.file(twin), trust_access.write(twin, estate))


def within[T](twin: Twin, ask: Callable[[], T]) -> T:
    """Where machines are reached; a fault is one message."""
    try:
        return inside.call(twin.netns_path(), ask)
    except (DeviceError, StoreError, ObjectsError, ProviderError) as error:
        raise UserError(str(error), "put right what it names, then run it again") from None
