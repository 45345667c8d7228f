"""The kind `qhs:signing:Request`: a request (PKCS#10) for the certificate of a key, signed by the key itself."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from stacks.provider.inputs import Plain
from stacks.provider.settings import ProviderError
from stacks.provider.signing.devices import each, told
from stacks.provider.signing.handler import SigningHandler
from stacks.provider.signing.spec import RequestSpec


class RequestHandler(SigningHandler):
    """Signed once; the site's secret store keeps it beside the key."""

    NAMED = "label"
    SPEC = RequestSpec
    TOLD = frozenset({"pem"})

    def write(self, urn: str, inputs: Plain) -> Plain:
        with told():
            looked = each(self.own(inputs))
            holder = next((one for one, keys in looked.found if inputs["label"] in keys), None)
            if holder is None:
                raise ProviderError(
                    f"{self.key(inputs)}: no device of the site has this key ({'; '.join(looked.gaps)}); "
                    "wanted one. Way out: `up` of this stack, which brings it"
                )
            asked = holder.ask("request", label=inputs["label"], subject=inputs["subject"])["request"]
            pem = x509.load_der_x509_csr(bytes.fromhex(asked)).public_bytes(Encoding.PEM).decode()
            self.keep(inputs, {"request": pem, "subject": inputs["subject"]})
        return {"pem": pem}

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        with told():
            kept = self.kept(inputs)
        if not kept or "request" not in kept:
            return None
        public = x509.load_pem_x509_csr(kept["request"].encode()).public_key()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        gaps = [] if der.hex() == kept["public"] else ["it is of another key"]
        return {**inputs, "subject": kept["subject"]}, {"gaps": gaps, "pem": kept["request"]}

    def remove(self, urn: str, inputs: Plain) -> None:
        """It signs nothing: what stands kept goes with its key."""
