"""The kind `qhs:signing:Key`: a key pair that every device of its token's domain has and none gives out."""

from __future__ import annotations

from typing import Any

from stacks.provider.inputs import Plain
from stacks.provider.settings import ProviderError
from stacks.provider.signing.device import Answer
from stacks.provider.signing.devices import Token, each, kept_of, told
from stacks.provider.signing.handler import SigningHandler
from stacks.provider.signing.spec import KeySpec


class KeyHandler(SigningHandler):
    """A key is made once, at the site that founds, and wrapped for every other device of its domain."""

    NAMED = "label"
    SPEC = KeySpec
    TOLD = frozenset({"public"})

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        return {**super().outputs(urn, inputs), **_wanted(inputs)}

    def write(self, urn: str, inputs: Plain) -> Plain:
        label = inputs["label"]
        with told():
            looked = each(self.own(inputs))
            if not looked.found:
                said = "; ".join(looked.gaps)
                raise ProviderError(f"{self.key(inputs)}: no device of the site has its token: {said}")
            kept = self.kept(inputs) or self._first(inputs, looked.found)
            self._refuse_another_kind(inputs, kept)
            self.keep(inputs, kept)
            for one, keys in looked.found:
                self._refuse_another(inputs, one, keys.get(label), kept["public"])
                if label not in keys:
                    one.ask("take-key", label=label, use=inputs["use"], public=kept["public"], wrapped=kept["wrapped"])
        return {"gaps": looked.gaps, "public": kept["public"]}

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        label = inputs["label"]
        with told():
            kept = self.kept(inputs)
            looked = each(self.own(inputs))
        held = [(one.machine, keys[label]) for one, keys in looked.found if label in keys]
        gaps = looked.gaps + [f"{one.machine}: no such key" for one, keys in looked.found if label not in keys]
        public = kept["public"] if kept else ""
        gaps += [f"{machine}: another key" for machine, told_of in held if told_of["public"] != public]
        if not kept and not held:
            return None
        shown = {
            name: value if all(it[name] == value for _, it in held) else "differs"
            for name, value in _wanted(inputs).items()
        }
        return inputs, {"gaps": gaps, "public": public, **shown}

    def remove(self, urn: str, inputs: Plain) -> None:
        """From every device of the site, or not at all; with what the site keeps of it."""
        self.require_approval(urn)
        with told():
            looked = each(self.own(inputs))
            if looked.silent:
                said = "; ".join(looked.silent)
                raise ProviderError(f"{self.key(inputs)}: {said}; wanted all to answer, as it would stay there")
            for one, keys in looked.found:
                if inputs["label"] in keys:
                    one.ask("remove-key", label=inputs["label"])
            self.forget(inputs)

    def _first(self, inputs: Plain, found: list[tuple[Token, dict[str, Answer]]]) -> dict[str, Any]:
        """The key that the domain has, else a new one. Raises ProviderError where another site makes it."""
        label = inputs["label"]
        for one, keys in (*found, *each(self.elsewhere(inputs)).found):
            if label in keys:
                return kept_of(label, inputs["use"], keys[label], one)
        if not inputs["founds"]:
            raise ProviderError(
                f"{self.key(inputs)}: no device has this key; wanted one of {', '.join(inputs['elsewhere'])} that has. "
                "Way out: apply the signing stack of the active site first"
            )
        maker = found[0][0]
        made = maker.ask("make-shared-key", label=label, algorithm=inputs["algorithm"], use=inputs["use"])
        return kept_of(label, inputs["use"], made["key"], maker)

    def _refuse_another_kind(self, inputs: Plain, kept: Plain) -> None:
        found = f"{kept['algorithm']} for {kept['use']}"
        if found != (wanted := f"{inputs['algorithm']} for {inputs['use']}"):
            raise ProviderError(
                f"{self.key(inputs)}: found a key {found}; wanted {wanted}. Way out: declare it under another label, "
                "so that both are there until nobody signs with the old one"
            )

    def _refuse_another(self, inputs: Plain, one: Token, there: Answer | None, public: str) -> None:
        """What is there under that label must be that key, as it was made."""
        if there is None:
            return
        odd = [] if there["public"] == public else ["another key"]
        odd += [f"{name} {there[name]}" for name, value in _wanted(inputs).items() if there[name] != value]
        if odd:
            raise ProviderError(
                f"{one.machine}: {self.key(inputs)}: found {', '.join(odd)}; wanted the key that the site keeps, as it "
                "was made. Way out: have it taken away on that device, by whoever answers for it; the next `up` brings "
                "the right one from another device"
            )


def _wanted(inputs: Plain) -> Plain:
    """The attributes of every private key of ours (C-SIG-02)."""
    return {"sensitive": True, "extractable": False, "private": True, "uses": [inputs["use"]]}
