"""The kind `qhs:dns:Record`: a name with its addresses, at the authority of its domain."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from stacks.provider.base import Standing
from stacks.provider.inputs import Plain
from stacks.provider.record.access import Access
from stacks.provider.record.client import Client, NamesError, Reading
from stacks.provider.record.link import Link
from stacks.provider.record.spec import RecordSpec, absolute, addresses_of, others_of, ttl_of
from stacks.provider.settings import ProviderError
from stacks.provider.specified import SpecifiedHandler

# The engine asks about many resources at once: they share a connection.
_CLIENTS: dict[tuple[Path, Path | None, str], Client] = {}
_MAKING = threading.Lock()


class RecordHandler(SpecifiedHandler):
    """Names that take updates. Each says who wrote it; what another stack or nobody known wrote is left alone."""

    NAMED = "name"
    SPEC = RecordSpec

    def key(self, inputs: Plain) -> str:
        return str(inputs["name"])

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        return {"writer": urn, "others": []}

    def write(self, urn: str, inputs: Plain) -> None:
        spec = RecordSpec.model_validate(inputs)
        domain, name = absolute(spec.domain), absolute(spec.name)
        with self._asking(spec.domain) as client:
            seen = client.read(domain, name)
            _refuse_another(spec, seen, urn)
            client.write(domain, name, seen, spec.rrsets(), urn)

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        with self._asking(inputs["domain"]) as client:
            found = client.read(absolute(inputs["domain"]), absolute(key))
        return (_as_inputs(found, inputs), _as_outputs(found)) if found.rrsets else None

    def list(self) -> list[Standing]:
        """Every name of every domain that takes updates."""
        standing = []
        for domain in Access.read(self.settings.names_access).authorities:
            with self._asking(domain) as client:
                for name, found in client.list(absolute(domain)).items():
                    key = name.to_text(omit_final_dot=True)
                    properties = {**_as_inputs(found, {"name": key, "domain": domain, "ttl": 0}), **_as_outputs(found)}
                    standing.append(Standing(key, found.writer, properties))
        return standing

    def remove(self, urn: str, inputs: Plain) -> None:
        domain, name = absolute(inputs["domain"]), absolute(inputs["name"])
        with self._asking(inputs["domain"]) as client:
            seen = client.read(domain, name)
            if seen.writer == urn:
                client.remove(domain, name, seen)

    @contextmanager
    def _asking(self, domain: str) -> Iterator[Client]:
        """The authority of a domain; its faults are the user's news."""
        config, path = self.settings.machines(), self.settings.names_access
        access = Access.read(path)
        machine = access.authorities.get(domain)
        if machine is None:
            raise ProviderError(
                f"{domain}: no authority takes updates of it; wanted one of {', '.join(access.authorities)}. "
                f"Way out: name the right domain, or the authority in {path}"
            )
        with _MAKING:
            at = (config, path, machine)
            if at not in _CLIENTS:
                _CLIENTS[at] = Client(machine, access.signature(), partial(Link.over_ssh, config, machine))
        try:
            yield _CLIENTS[at]
        except NamesError as error:
            raise ProviderError(str(error)) from error


def _refuse_another(spec: RecordSpec, seen: Reading, urn: str) -> None:
    """What this stack did not write is not written over, unless it says the same already. Raises ProviderError."""
    if not seen.rrsets or (seen.writer and _stack(seen.writer) == _stack(urn)):
        return
    found = [*addresses_of(seen.rrsets), *others_of(seen.rrsets)]
    if not seen.writer and found == [str(one) for one in spec.addresses]:
        return
    raise ProviderError(
        f"{spec.name}: found {', '.join(found)}, written by {seen.writer or 'no resource'}; wanted a name that is free "
        "or of this stack. Way out: declare it in one stack only, or take away there what nobody declares"
    )


def _stack(urn: str) -> str:
    return urn.partition("::")[0]


def _as_inputs(found: Reading, described: Plain) -> Plain:
    return {**described, "ttl": ttl_of(found.rrsets, described["ttl"]), "addresses": addresses_of(found.rrsets)}


def _as_outputs(found: Reading) -> Plain:
    return {"writer": found.writer or "", "others": others_of(found.rrsets)}
