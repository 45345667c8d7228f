"""Starts the plugin: the engine runs this folder as the provider `qhs`."""

import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pkgutil import resolve_name
from typing import cast

from stacks.provider.base import Handler, QhsProvider
from stacks.provider.data.resources import Database, Role
from stacks.provider.record.resource import Record
from stacks.provider.ruleset.resource import Ruleset
from stacks.provider.secret.resources import (
    Auth,
    ClientAuthority,
    ClientRole,
    Mount,
    PkiAuthority,
    PkiRole,
    Policy,
    Shared,
    TokenIssuer,
    TokenRole,
    TransitKey,
)
from stacks.provider.server import serve
from stacks.provider.signing.resources import Certificate, Key, Request, Token
from stacks.provider.storage.resources import Bucket, Identity

_HANDLERS = {
    Ruleset.TYPE: "ruleset.handler:RulesetHandler",
    Record.TYPE: "record.handler:RecordHandler",
    Mount.TYPE: "secret.handlers:MountHandler",
    Policy.TYPE: "secret.handlers:PolicyHandler",
    Auth.TYPE: "secret.handlers:AuthHandler",
    TransitKey.TYPE: "secret.handlers:TransitKeyHandler",
    PkiAuthority.TYPE: "secret.pki:PkiAuthorityHandler",
    PkiRole.TYPE: "secret.pki:PkiRoleHandler",
    ClientAuthority.TYPE: "secret.clients:ClientAuthorityHandler",
    ClientRole.TYPE: "secret.clients:ClientRoleHandler",
    TokenIssuer.TYPE: "secret.tokens:TokenIssuerHandler",
    TokenRole.TYPE: "secret.tokens:TokenRoleHandler",
    Shared.TYPE: "secret.shared:SharedHandler",
    Identity.TYPE: "storage.handlers:IdentityHandler",
    Bucket.TYPE: "storage.handlers:BucketHandler",
    Role.TYPE: "data.handlers:RoleHandler",
    Database.TYPE: "data.handlers:DatabaseHandler",
    Token.TYPE: "signing.tokens:TokenHandler",
    Key.TYPE: "signing.keys:KeyHandler",
    Request.TYPE: "signing.requests:RequestHandler",
    Certificate.TYPE: "signing.installed:CertificateHandler",
}


class _Kinds(Mapping[str, type[Handler]]):
    """By type token. A handler is imported when it is asked for: a plugin serves one stack, which has a few kinds, and
    the libraries of all the others take longer to import than such a stack to be looked at.
    """

    def __getitem__(self, token: str) -> type[Handler]:
        return cast(type[Handler], resolve_name(f"stacks.provider.{_HANDLERS[token]}"))

    def __iter__(self) -> Iterator[str]:
        return iter(_HANDLERS)

    def __len__(self) -> int:
        return len(_HANDLERS)


KINDS = _Kinds()

if __name__ == "__main__":
    serve(QhsProvider(KINDS), version("qhs"), sys.argv[1:])
