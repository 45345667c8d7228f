"""The kind `qhs:signing:Certificate`: the certificate of a key, beside the key on every device of a site."""

from __future__ import annotations

from stacks.provider.inputs import Plain
from stacks.provider.settings import ProviderError
from stacks.provider.signing.certificates import Chain
from stacks.provider.signing.devices import each, told
from stacks.provider.signing.handler import SigningHandler
from stacks.provider.signing.spec import CertificateSpec


class CertificateHandler(SigningHandler):
    """Judged before anything is connected to; that it is of this key, before anything is written."""

    NAMED = "label"
    SPEC = CertificateSpec

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        leaf = Chain.read(inputs["chain"], inputs["anchor"]).leaf
        return {
            **super().outputs(urn, inputs),
            "subject": leaf.subject.rfc4514_string(),
            "issuer": leaf.issuer.rfc4514_string(),
            "expires": leaf.not_valid_after_utc.isoformat(),
        }

    def write(self, urn: str, inputs: Plain) -> Plain:
        chain = Chain.read(inputs["chain"], inputs["anchor"])
        label = inputs["label"]
        with told():
            looked = each(self.own(inputs))
            for one, keys in looked.found:
                if label not in keys or keys[label]["public"] != chain.public.hex():
                    has = "another key" if label in keys else "no such key"
                    raise ProviderError(
                        f"{one.machine}: {self.key(inputs)}: found {has}; wanted the key of the certificate. Nothing "
                        "was installed. Way out: the certificate that was issued for the request of this key"
                    )
            for one, _ in looked.found:
                one.ask("take-certificate", label=label, certificate=chain.der.hex())
            self.keep(inputs, {"chain": inputs["chain"]})
        return {"gaps": looked.gaps}

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        chain = Chain.read(inputs["chain"], inputs["anchor"])
        with told():
            looked = each(self.own(inputs))
        there = {one.machine: keys.get(inputs["label"], {}).get("certificate") for one, keys in looked.found}
        if not any(there.values()) and not looked.silent:
            return None
        gaps = looked.gaps
        gaps += [f"{machine}: no certificate" for machine, one in there.items() if not one]
        gaps += [f"{machine}: another certificate" for machine, one in there.items() if one and one != chain.der.hex()]
        return inputs, {**self.outputs("", inputs), "gaps": gaps}

    def remove(self, urn: str, inputs: Plain) -> None:
        """It goes with its key, or when another one takes its place."""
