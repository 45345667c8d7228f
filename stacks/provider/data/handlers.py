"""The kinds `qhs:data:*`: who may come into a site's databases, and the databases."""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from psycopg import sql

from stacks.model.data import LOGGED, PASSWORDS, RESERVED
from stacks.provider.access import TrustAccess
from stacks.provider.base import Standing
from stacks.provider.data import scram
from stacks.provider.data.client import WRITER, DataError, Server
from stacks.provider.data.servers import server, takes_writes
from stacks.provider.data.spec import DatabaseSpec, RoleSpec
from stacks.provider.inputs import Plain
from stacks.provider.secret.client import StoreError
from stacks.provider.secret.spec import StoreInput
from stacks.provider.secret.stores import store
from stacks.provider.settings import ProviderError
from stacks.provider.specified import CATALOGUE, KeepingHandler, SpecifiedHandler


class DataHandler(SpecifiedHandler):
    """What is the same for both kinds."""

    NAMED = "name"
    SPEC: ClassVar[type[StoreInput]]

    def key(self, inputs: Plain) -> str:
        return f"{inputs['site']}/{inputs['name']}"

    def list(self) -> list[Standing]:
        """Once for the estate: what one site has, others have from it."""
        found = []
        for site in list(TrustAccess.read(self.settings.trust_access).databases)[:1]:
            with self.server(site) as there:
                names = [name for name in self.names(there) if name not in RESERVED]
            for name in names:
                if read := self.read(f"{site}/{name}", {"site": site, "name": name, "stores": []}):
                    inputs, outputs = read
                    found.append(Standing(f"{site}/{name}", outputs["writer"] or None, {**inputs, **outputs}))
        return found

    @abstractmethod
    def names(self, there: Server) -> Sequence[str]:
        """Of all of this kind that there are."""

    @contextmanager
    def server(self, site: str) -> Iterator[Server]:
        """Its faults are the user's news."""
        try:
            yield server(self.settings, site)
        except (DataError, StoreError) as error:
            raise ProviderError(str(error)) from error


class RoleHandler(DataHandler):
    """Roles. A password is made here and kept in secret stores alone: servers have what it cannot be worked out from.

    It goes with the data to other sites, so their stores have it too: one that lacks it is a gap, closed later.
    """

    SPEC = RoleSpec

    def names(self, there: Server) -> Sequence[str]:
        return [name for (name,) in there.ask(sql.SQL("select rolname from pg_roles where rolname !~ '^pg_'"))]

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        return {"writer": urn, "may": ["log in"], "gaps": []}

    def write(self, urn: str, inputs: Plain) -> Plain:
        spec = RoleSpec.model_validate(inputs)  # the engine's numbers are no integers
        name = sql.Identifier(spec.name)
        with self.server(spec.site) as there:
            known = _role(there, spec.name)
            self._refuse_more(inputs, known[2] if known else [])
            here = takes_writes(self.settings, spec.site)
            kept = store(self.settings, here).secret(_path(inputs))
            password = kept["password"] if kept else secrets.token_urlsafe(32)
            gaps = self._keep(inputs, password, here)
            verb = sql.SQL("alter" if known else "create")
            change = sql.SQL("{} role {} login nocreatedb nocreaterole connection limit {}")
            there.ask(change.format(verb, name, sql.Literal(spec.connections)))
            there.admit(spec.name, password)
            for group in _groups(there, spec.name):
                there.ask(sql.SQL("revoke {} from {}").format(sql.Identifier(group), name))
            there.ask(sql.SQL("comment on role {} is {}").format(name, sql.Literal(WRITER + urn)))
        return {"gaps": gaps}

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        with self.server(inputs["site"]) as there:
            found = _role(there, inputs["name"])
            if found is None:
                return None
            writer, connections, may = found
            ((verifier,),) = there.ask(
                sql.SQL("select coalesce(rolpassword, '') from pg_authid where rolname = %s"), inputs["name"]
            )
        outputs = {"writer": writer, "may": may, "gaps": self._gaps(inputs, verifier)}
        return {**inputs, "connections": connections}, outputs

    def remove(self, urn: str, inputs: Plain) -> None:
        with self.server(inputs["site"]) as there:
            found = _role(there, inputs["name"])
            if found and found[0] != urn:
                return
            if found:
                there.ask(sql.SQL("drop role {}").format(sql.Identifier(inputs["name"])))
            # Also where a run that failed after that has left a password of nobody.
            for site in inputs["stores"]:
                store(self.settings, site).forget(_path(inputs))

    def _refuse_more(self, inputs: Plain, may: list[str]) -> None:
        """What only who administers the databases can give, only that one can take away."""
        if odd := [what for what in may if what in _BEYOND]:
            raise ProviderError(
                f"{self.key(inputs)}: found a role that may do {', '.join(odd)}; wanted one that may log in, and no "
                "more. Way out: have that taken away by whoever administers the databases, and ask who gave it"
            )

    def _keep(self, inputs: Plain, password: str, here: str) -> list[str]:
        """In the stores of all sites, first where writes are taken; what those said that do not take it."""
        gaps = []
        for site in sorted(inputs["stores"], key=lambda site: site != here):
            try:
                there = store(self.settings, site)
                if (there.secret(_path(inputs)) or {}).get("password") != password:
                    there.keep(_path(inputs), {"password": password})
            except StoreError as error:
                if site == here:
                    raise
                gaps.append(f"{site}: {error}")
        return gaps

    def _gaps(self, inputs: Plain, verifier: str) -> list[str]:
        """Stores that do not have the password which the servers take."""
        gaps = []
        for site in inputs["stores"]:
            try:
                kept = store(self.settings, site).secret(_path(inputs))
            except StoreError as error:
                gaps.append(f"{site}: {error}")
                continue
            if not kept or not scram.fits(verifier, kept["password"]):
                gaps.append(f"{site}: {'another' if kept else 'no'} password")
        return gaps


class DatabaseHandler(DataHandler, KeepingHandler):
    """Databases, which one role and no other may use. What a database holds goes with it: never without approval."""

    SPEC = DatabaseSpec

    def names(self, there: Server) -> Sequence[str]:
        return [name for (name,) in there.ask(sql.SQL("select datname from pg_database"))]

    def outputs(self, urn: str, inputs: Plain) -> Plain:
        return {"writer": urn, "admits": [inputs["role"]], "logged": _logged(inputs)}

    def write(self, urn: str, inputs: Plain) -> None:
        name, role = sql.Identifier(inputs["name"]), inputs["role"]
        with self.server(inputs["site"]) as there:
            if (inputs["name"],) not in there.ask(sql.SQL("select datname from pg_database")):
                there.ask(sql.SQL("create database {}").format(name))
            for other in _admits(there, inputs["name"]):
                if other != role:
                    who = sql.SQL("public") if other == EVERYBODY else sql.Identifier(other)
                    there.ask(sql.SQL("revoke all on database {} from {}").format(name, who))
            there.ask(
                sql.SQL("grant connect, create, temporary on database {} to {}").format(name, sql.Identifier(role))
            )
            for setting, value in LOGS.items():
                change = sql.SQL("set {} = {}") if _logged(inputs) else sql.SQL("reset {}")
                said = change.format(sql.Identifier(setting), sql.Literal(value))
                there.ask(sql.SQL("alter database {} ").format(name) + said)
            there.ask(sql.SQL("comment on database {} is {}").format(name, sql.Literal(WRITER + urn)))

    def read(self, key: str, inputs: Plain) -> tuple[Plain, Plain] | None:
        with self.server(inputs["site"]) as there:
            found = there.ask(_DATABASE, inputs["name"])
            if not found:
                return None
            ((writer, configured),) = found
            outputs = {
                "writer": (writer or "").removeprefix(WRITER),
                "admits": _admits(there, inputs["name"]),
                "logged": all(f"{setting}={value}" in (configured or []) for setting, value in LOGS.items()),
            }
        return inputs, outputs

    def remove(self, urn: str, inputs: Plain) -> None:
        name = inputs["name"]
        with self.server(inputs["site"]) as there:
            found = there.ask(_DATABASE, name)
            if not found or found[0][0] != WRITER + urn:
                return
            self._judge(there, urn, inputs)
            there.ask(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    def judge(self, urn: str, inputs: Plain) -> None:
        with self.server(inputs["site"]) as there:
            found = there.ask(_DATABASE, inputs["name"])
            if found and found[0][0] == WRITER + urn:
                self._judge(there, urn, inputs)

    def _judge(self, there: Server, urn: str, inputs: Plain) -> None:
        if there.has_tables(inputs["name"]):
            tenant = inputs["tenant"]
            self.require_approval(
                urn,
                f"{self.key(inputs)}: has tables of the application {tenant}, which would be gone with it; wanted to "
                f"be kept. Way out: declare it again (`databases` of {tenant} in {CATALOGUE}), or: ",
            )


EVERYBODY = "everybody"
LOGS = {"log_statement": "all", "log_parameter_max_length": "0"}
"""What was asked, without the values: those are what is protected."""

_DATABASE = sql.SQL(
    "select shobj_description(d.oid, 'pg_database'), s.setconfig from pg_database d "
    "left join pg_db_role_setting s on s.setdatabase = d.oid and s.setrole = 0 where d.datname = %s"
)
_ADMITS = sql.SQL(
    "select distinct case when a.grantee = 0 then {} else a.grantee::regrole::text end from pg_database d, "
    "aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a where d.datname = %s and a.grantee <> d.datdba"
).format(sql.Literal(EVERYBODY))
_BEYOND = ("everything", "replication", "what row security forbids")
_ROLE = sql.SQL(
    "select coalesce(shobj_description(oid, 'pg_authid'), ''), rolconnlimit, rolcanlogin, rolcreaterole, "
    "rolcreatedb, rolsuper, rolreplication, rolbypassrls from pg_roles where rolname = %s"
)
_MAY = ("log in", "make roles", "make databases", *_BEYOND)


def _logged(inputs: Plain) -> bool:
    return bool(inputs["information"] == LOGGED)


def _admits(there: Server, name: str) -> list[str]:
    """Who may use a database beside its owner."""
    return sorted(who.strip('"') for (who,) in there.ask(_ADMITS, name))


def _role(there: Server, name: str) -> tuple[str, int, list[str]] | None:
    """Who wrote it, how many connections it may have, what it may do; None: there is none."""
    found = there.ask(_ROLE, name)
    if not found:
        return None
    ((writer, connections, *attributes),) = found
    may = [what for what, has in zip(_MAY, attributes, strict=True) if has]
    return writer.removeprefix(WRITER), connections, may + [f"all that {one} may" for one in _groups(there, name)]


def _groups(there: Server, name: str) -> list[str]:
    """Of which roles it is a member."""
    asked = sql.SQL(
        "select g.rolname from pg_auth_members m join pg_roles g on g.oid = m.roleid "
        "join pg_roles r on r.oid = m.member where r.rolname = %s order by 1"
    )
    return [group for (group,) in there.ask(asked, name)]


def _path(inputs: Plain) -> str:
    return f"{PASSWORDS}/{inputs['name']}"
