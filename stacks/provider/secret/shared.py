"""The kind `qhs:secrets:Shared`: what the secret stores of several sites have alike, so that none needs another."""

from __future__ import annotations

import secrets
from typing import Any

from stacks.model.backups import BACKUPS
from stacks.provider.access import TrustAccess
from stacks.provider.base import Standing
from stacks.provider.inputs import Plain
from stacks.provider.secret.client import Fields, StoreError
from stacks.provider.secret.spec import SharedSpec
from stacks.provider.secret.stores import store
from stacks.provider.settings import ProviderError
from stacks.provider.specified import SpecifiedHandler


class SharedHandler(SpecifiedHandler):
    """A secret is made once, and never another in its place. A store that lacks it is a gap, closed later."""

    NAMED = "path"
    SPEC = SharedSpec

    def key(self, inputs: Plain) -> str:
        return str(inputs["path"])

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        return {"writer": urn, "gaps": []}

    def write(self, urn: str, inputs: Plain) -> Plain:
        there, away = self._asked(inputs)
        fields = {**inputs["beside"], inputs["made"]: self._secret(inputs, there, away), "writer": urn}
        gaps = dict(away)
        for site, found in there.items():
            if found != fields:
                try:
                    store(self.settings, site).keep(inputs["path"], fields)
                except StoreError as error:
                    gaps[site] = str(error)
        if not there or gaps.keys() >= there.keys() | away.keys():
            raise ProviderError("; ".join(gaps.values()))
        return {"gaps": _said(gaps)}

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        there, away = self._asked(inputs)
        kept = [found for found in there.values() if found]
        if not kept:
            if away:
                raise ProviderError("; ".join(away.values()))
            return None
        first = kept[0]
        gaps = away | {site: "has none" for site, found in there.items() if not found}
        gaps |= {site: "has another" for site, found in there.items() if found and found != first}
        beside = {name: value for name, value in first.items() if name not in (inputs["made"], "writer")}
        return {**inputs, "beside": beside}, {"writer": first.get("writer", ""), "gaps": _said(gaps)}

    def list(self) -> list[Standing]:
        """What encrypts backups, at every site; who comes into object stores is told of by those."""
        found = {}
        for site in TrustAccess.read(self.settings.trust_access).stores:
            try:
                there = store(self.settings, site)
                for name in there.secrets(BACKUPS):
                    path = f"{BACKUPS}/{name}"
                    writer = (there.secret(path) or {}).get("writer")
                    found[path] = Standing(path, writer, {"path": path})
            except StoreError as error:
                raise ProviderError(str(error)) from error
        return list(found.values())

    def remove(self, urn: str, inputs: Plain) -> None:
        there, away = self._asked(inputs)
        own = [site for site, found in there.items() if found and found["writer"] == urn]
        if not own and not away:
            return
        self.require_approval(
            urn,
            f"{self.key(inputs)}: what it encrypted could never be read again; wanted to be kept. Way out: declare it "
            "again, or: ",
        )
        for site in own:
            store(self.settings, site).forget(inputs["path"])

    def _asked(self, inputs: Plain) -> tuple[dict[str, Fields | None], dict[str, str]]:
        """What each store has that answers, and what the others say."""
        there: dict[str, Fields | None] = {}
        away: dict[str, str] = {}
        for site in inputs["stores"]:
            try:
                there[site] = store(self.settings, site).secret(inputs["path"])
            except StoreError as error:
                away[site] = str(error)
        return there, away

    def _secret(self, inputs: Plain, there: dict[str, Fields | None], away: dict[str, str]) -> Any:
        """The one that is known; made where every store says that it has none. Raises ProviderError."""
        known = {found[inputs["made"]] for found in there.values() if found}
        if len(known) > 1:
            raise ProviderError(
                f"{self.key(inputs)}: found different ones at {', '.join(there)}; wanted one. Way out: find out by "
                "which of them what it is for can be read, and take the other one away at its store by hand"
            )
        if known:
            return known.pop()
        if away:
            raise ProviderError(
                f"{self.key(inputs)}: found none at {', '.join(there) or 'any store'}, and one may be where nobody "
                f"answers: {'; '.join(away.values())}; wanted an answer of every store before it is made"
            )
        return secrets.token_urlsafe(32)


def _said(gaps: dict[str, str]) -> list[str]:
    return [f"{site}: {why}" for site, why in sorted(gaps.items())]
