"""The kind `qhs:signing:Token`: a partition of every device of a site, in one domain with those of other sites."""

from __future__ import annotations

from stacks.provider.inputs import Plain
from stacks.provider.secret.stores import store
from stacks.provider.settings import ProviderError
from stacks.provider.signing.device import Answer, SilentError
from stacks.provider.signing.devices import FOUNDED, KEK, Token, each, hand_over, key_at, told
from stacks.provider.signing.handler import SigningHandler
from stacks.provider.signing.spec import RESERVED, TokenSpec


class TokenHandler(SigningHandler):
    """Tokens with PINs of their own, which share the key of their domain: it wraps the keys that all of them have."""

    NAMED = "token"
    SPEC = TokenSpec

    def write(self, urn: str, inputs: Plain) -> Plain:
        with told():
            gaps = [gap for one in self.own(inputs) if (gap := _made(one))]
            looked = each(self.own(inputs))
            if not looked.found:
                raise ProviderError(f"{self.key(inputs)}: no device of the site answers: {'; '.join(gaps)}")
            self._join(inputs, looked.found)
        return {"gaps": [*gaps, *_undeclared(inputs, looked.found)]}

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        with told():
            looked = each(self.own(inputs))
        without = [f"{one.machine}: lacks the key of its domain" for one, keys in looked.found if KEK not in keys]
        gaps = [*looked.gaps, *without, *_undeclared(inputs, looked.found)]
        return (inputs, {"gaps": gaps}) if looked.found or looked.silent else None

    def remove(self, urn: str, inputs: Plain) -> None:
        raise ProviderError(
            f"{self.key(inputs)}: found a token; wanted it to be kept, as no device lets it be taken away from afar. "
            "Way out: declare it again, or take it away on each device, then `pulumi state delete`"
        )

    def _join(self, inputs: Plain, found: list[tuple[Token, dict[str, Answer]]]) -> None:
        """Have the key of the domain on every device that answers."""
        lacking = [one for one, keys in found if KEK not in keys]
        if not lacking:
            return
        holder = next((one for one, keys in found if KEK in keys), None) or self._holder(inputs)
        known = store(self.settings, inputs["site"])
        if holder is None:
            self._refuse_to_found(inputs, known.secret(self._domain(inputs)) is not None)
            holder = lacking[0]
            holder.ask("make-kek")
        known.keep(self._domain(inputs), FOUNDED)
        for one in lacking:
            if one is not holder:
                hand_over(holder, one)

    @staticmethod
    def _domain(inputs: Plain) -> str:
        return key_at(inputs["token"], KEK)

    def _refuse_to_found(self, inputs: Plain, founded: bool) -> None:
        """What an older key of the domain has wrapped, a new one never opens."""
        if inputs["founds"] and not founded:
            return
        elsewhere = ", ".join(inputs["elsewhere"]) or "this site"
        out = "bring back a device that has it" if founded else "apply the signing stack of the active site first"
        raise ProviderError(
            f"{self.key(inputs)}: no device that answers has the key of its domain; wanted one of {elsewhere} that "
            f"has. Way out: {out}"
        )

    def _holder(self, inputs: Plain) -> Token | None:
        return next((one for one, keys in each(self.elsewhere(inputs)).found if KEK in keys), None)


def _undeclared(inputs: Plain, found: list[tuple[Token, dict[str, Answer]]]) -> list[str]:
    """Keys that somebody made by hand: nobody else takes them away, so they are told of until then."""
    own = {*inputs["keys"], *RESERVED}
    return [f"{one.machine}: nobody declared its key {key}" for one, keys in found for key in sorted(keys.keys() - own)]


def _made(one: Token) -> str:
    """Why it is not there; empty: it is."""
    try:
        one.make()
    except SilentError as error:
        return str(error)
    return ""
