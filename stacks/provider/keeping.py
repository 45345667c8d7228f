"""Whether what may hold something may go, asked by a program: the plugin is asked when an update takes it away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from stacks.provider.data.handlers import DatabaseHandler
from stacks.provider.data.resources import Database
from stacks.provider.inputs import Plain
from stacks.provider.settings import Settings
from stacks.provider.specified import KeepingHandler
from stacks.provider.storage.handlers import BucketHandler
from stacks.provider.storage.resources import Bucket

HANDLERS: Final[Mapping[str, type[KeepingHandler]]] = {Database.TYPE: DatabaseHandler, Bucket.TYPE: BucketHandler}


def judge(kind: str, settings: Settings, urn: str, inputs: Plain) -> None:
    """Raises ProviderError where it holds something and nobody has approved that it goes, or nobody can say."""
    HANDLERS[kind](settings).judge(urn, inputs)
