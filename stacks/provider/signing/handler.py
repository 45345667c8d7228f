"""What the kinds `qhs:signing:*` have in common: a thing that every device of a site has, or is a gap until it has.

A device that does not answer loses nobody a signature, so it fails no update either: the state names it as a gap, and
the next update closes it.
"""

from __future__ import annotations

from typing import ClassVar

from stacks.provider.base import Standing
from stacks.provider.inputs import Plain
from stacks.provider.secret.stores import store
from stacks.provider.settings import ProviderError
from stacks.provider.signing.devices import Token, key_at, token
from stacks.provider.signing.spec import OnDevices
from stacks.provider.specified import SpecifiedHandler


class SigningHandler(SpecifiedHandler):
    """Beside what it declares, each shows its gaps: a line for each device that lacks it, or has another one."""

    SPEC: ClassVar[type[OnDevices]]

    def key(self, inputs: Plain) -> str:
        return "/".join([inputs["site"], inputs["token"], *([inputs["label"]] if "label" in inputs else [])])

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        return {"gaps": []}

    def own(self, inputs: Plain) -> list[Token]:
        """The token on each device of the site."""
        return [token(self.settings, inputs["site"], one, inputs["token"]) for one in inputs["devices"]]

    def elsewhere(self, inputs: Plain) -> list[Token]:
        """The token on each device of other sites."""
        return [
            token(self.settings, site, one, inputs["token"])
            for site, devices in inputs["elsewhere"].items()
            for one in devices
        ]

    def kept(self, inputs: Plain) -> Plain | None:
        """What the site's secret store keeps of a key: its public half, and it itself as its domain's key wraps it."""
        return store(self.settings, inputs["site"]).secret(self.at(inputs))

    def keep(self, inputs: Plain, fields: Plain) -> None:
        """Beside what is kept already."""
        store(self.settings, inputs["site"]).add(self.at(inputs), fields)

    def forget(self, inputs: Plain) -> None:
        """All of it."""
        store(self.settings, inputs["site"]).forget(self.at(inputs))

    @staticmethod
    def at(inputs: Plain) -> str:
        """Where that stands."""
        return key_at(inputs["token"], inputs["label"])

    def list(self) -> list[Standing]:
        """What devices hold is told by a PIN at a time, and by `qhs hsm list`."""
        raise ProviderError("found no list of what devices hold; wanted one of the tokens. Way out: `qhs hsm status`")
