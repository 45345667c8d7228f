"""Starts the plugin: the engine runs this folder as the provider `qhs`."""

import sys
from importlib.metadata import version

from stacks.provider.base import Handler, QhsProvider
from stacks.provider.record.handler import RecordHandler
from stacks.provider.record.resource import Record
from stacks.provider.ruleset.handler import RulesetHandler
from stacks.provider.ruleset.resource import Ruleset
from stacks.provider.server import serve

KINDS: dict[str, type[Handler]] = {Ruleset.TYPE: RulesetHandler, Record.TYPE: RecordHandler}

if __name__ == "__main__":
    serve(QhsProvider(KINDS), version("qhs"), sys.argv[1:])
