"""A token of a site's devices with its keys, the request for each one's certificate, and that once it has come."""

from __future__ import annotations

from pathlib import Path

import pulumi

from stacks.components.declared import Declarations, Declared
from stacks.model import Estate, signing
from stacks.model.certificates import came
from stacks.model.signing import ALGORITHM, SigningKey, devices, signing_sites
from stacks.provider.signing.resources import Certificate, Key, OnDevices, Request, Shared, Token


class SigningToken(Declared):
    """One tenant's, the persons', or that of time-stamps (C-HSM-05, C-SIG-02)."""

    def __init__(
        self,
        estate: Estate,
        site: str,
        token: signing.SigningToken,
        certificates: Path | None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        self._declared: Declarations = {"owner": token.owner, "level": token.level, "serves": list(token.serves)}
        super().__init__(
            "qhs:signing:Partition", f"{token.label}.{site}", **self._declared, props={"token": token.label}, opts=opts
        )
        self.requests: dict[str, pulumi.Output[str]] = {}
        self.gaps: dict[str, pulumi.Output[list[str]]] = {}
        self._estate, self._site, self._certificates = estate, site, certificates
        self._where: OnDevices = {"site": site, "devices": devices(estate, site), "token": token.label}
        self._founds = site == estate.inventory.signing.founds
        others = {other: devices(estate, other) for other in signing_sites(estate) if other != site}
        self._shared: Shared = {"elsewhere": others, "founds": self._founds}
        made = Token(
            f"{token.label}.{site}",
            pulumi.ResourceOptions(parent=self),
            **self._where,
            **self._shared,
            **self._declared,
            keys=[key.label for key in token.keys],
        )
        self.gaps[token.label] = made.gaps
        for key in token.keys:
            self._key(token.label, key, made)

    def _key(self, token: str, key: SigningKey, after: Token) -> None:
        title = f"{token}.{key.label}.{self._site}"
        made = Key(
            title,
            pulumi.ResourceOptions(parent=self, depends_on=[after]),
            **self._where,
            **self._shared,
            **self._declared,
            label=key.label,
            algorithm=ALGORITHM,
            use="sign",
        )
        self.gaps[f"{token}/{key.label}"] = made.gaps
        then = pulumi.ResourceOptions(parent=self, depends_on=[made])
        if self._founds:
            asked = Request(title, then, **self._where, **self._declared, label=key.label, subject=key.subject)
            self.requests[key.label] = asked.pem
        authority = self._estate.inventory.signing.authority
        if (chain := came(self._certificates, key.label)) and (anchor := came(self._certificates, authority)):
            Certificate(
                title,
                then,
                **self._where,
                **self._declared,
                label=key.label,
                purpose=key.purpose,
                authority=authority,
                anchor=anchor,
                chain=chain,
            )
