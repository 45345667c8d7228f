"""The kinds `qhs:storage:*`: who may come into a site's object store, and its buckets."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from stacks.model.objects import IDENTITIES
from stacks.provider.access import TrustAccess
from stacks.provider.base import Standing
from stacks.provider.data.client import DataError
from stacks.provider.data.servers import takes_writes
from stacks.provider.inputs import Plain
from stacks.provider.secret.client import Store
from stacks.provider.secret.handlers import StoreHandler
from stacks.provider.settings import ProviderError
from stacks.provider.specified import CATALOGUE, KeepingHandler
from stacks.provider.storage.client import Kept, Objects, ObjectsError
from stacks.provider.storage.spec import BucketSpec, IdentitySpec
from stacks.provider.storage.stores import objects


class IdentityHandler(StoreHandler):
    """Somebody's key, which is made here and kept in the secret store alone; the object store fetches it there."""

    NAMED = "name"
    SPEC = IdentitySpec

    def names(self, found: Store) -> Sequence[str]:
        return found.secrets(IDENTITIES)

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        return {"writer": urn}

    def write(self, urn: str, inputs: Plain) -> None:
        with self._store(inputs["site"]) as found:
            there = found.secret(_path(inputs)) or {"key": secrets.token_urlsafe(32)}
            found.keep(_path(inputs), {**there, "rights": inputs["rights"], "writer": urn})

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        with self._store(inputs["site"]) as found:
            there = found.secret(_path(inputs))
        return ({**inputs, "rights": there["rights"]}, {"writer": there["writer"]}) if there else None

    def remove(self, urn: str, inputs: Plain) -> None:
        with self._store(inputs["site"]) as found:
            there = found.secret(_path(inputs))
            if there and there["writer"] == urn:
                found.forget(_path(inputs))


class BucketHandler(KeepingHandler):
    """Buckets. What a bucket holds goes with it: never without approval, and out of an archive not with it either."""

    NAMED = "name"
    SPEC = BucketSpec

    def key(self, inputs: Plain) -> str:
        return f"{inputs['site']}/{inputs['name']}"

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        return {}

    def write(self, urn: str, inputs: Plain) -> None:
        with self._objects(inputs) as there:
            wanted = Kept(int(inputs["archive_years"]), int(inputs["locked_days"]))
            if inputs["name"] not in there.buckets():
                there.make(inputs["name"], locked=wanted != Kept())
            if there.versioned(inputs["name"]) != inputs["versioned"]:
                there.keep_versions(inputs["name"], inputs["versioned"])
            if there.kept(inputs["name"]) != wanted:
                there.keep(inputs["name"], wanted)

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        with self._objects(inputs) as there:
            if inputs["name"] not in there.buckets():
                return None
            return {**inputs, **_described(there, inputs["name"])}, {}

    def list(self) -> list[Standing]:
        """At every site."""
        found = []
        for site in TrustAccess.read(self.settings.trust_access).objects:
            with self._objects({"site": site}) as there:
                for name in there.buckets():
                    described = {"site": site, "name": name, **_described(there, name)}
                    found.append(Standing(f"{site}/{name}", None, described))
        return found

    def remove(self, urn: str, inputs: Plain) -> None:
        name = inputs["name"]
        with self._objects(inputs) as there:
            if name in there.buckets():
                self._judge(there, urn, inputs)
                there.drop(name)

    def judge(self, urn: str, inputs: Plain) -> None:
        with self._objects(inputs) as there:
            if inputs["name"] in there.buckets():
                self._judge(there, urn, inputs)

    def _judge(self, there: Objects, urn: str, inputs: Plain) -> None:
        """What is in an archive goes when its time is over: that nobody can shorten, so nobody is asked."""
        name, tenant = inputs["name"], inputs.get("tenant")
        if not there.holds(name):
            return
        whose = f" of the application {tenant}" if tenant else ""
        where = f"`buckets` of {tenant} in {CATALOGUE}" if tenant else "stacks/components/site_objects.py"
        if found := there.kept_until(name):
            kept, until = found
            raise ProviderError(
                f"{self.key(inputs)}: holds objects{whose} that nobody can delete, {kept!r} among them not before "
                f"{until:%d/%m/%Y %H:%M} UTC; wanted to be kept, whoever approves. Way out: declare it again ({where})"
            )
        self.require_approval(
            urn,
            f"{self.key(inputs)}: holds objects{whose}, which would be gone with it; wanted to be kept. Way out: "
            f"declare it again ({where}), or: ",
        )

    @contextmanager
    def _objects(self, inputs: Plain) -> Iterator[Objects]:
        """Of the site that takes writes, where a tenant's buckets are made; others have them from it.

        Its faults are the user's news.
        """
        try:
            site = takes_writes(self.settings, inputs["site"]) if inputs.get("tenant") else inputs["site"]
            yield objects(self.settings, site)
        except (DataError, ObjectsError) as error:
            raise ProviderError(str(error)) from error


def _described(there: Objects, name: str) -> Plain:
    """What a bucket does with what is written over or deleted."""
    kept = there.kept(name)
    return {"versioned": there.versioned(name), "archive_years": kept.years, "locked_days": kept.days}


def _path(inputs: Plain) -> str:
    return f"{IDENTITIES}/{inputs['name']}"
