"""Starts the plugin: the engine runs this folder as the provider `qhs`."""

import sys
from importlib.metadata import version

from stacks.provider.base import Handler, QhsProvider
from stacks.provider.data.handlers import DatabaseHandler, RoleHandler
from stacks.provider.data.resources import Database, Role
from stacks.provider.record.handler import RecordHandler
from stacks.provider.record.resource import Record
from stacks.provider.ruleset.handler import RulesetHandler
from stacks.provider.ruleset.resource import Ruleset
from stacks.provider.secret.clients import ClientAuthorityHandler, ClientRoleHandler
from stacks.provider.secret.handlers import AuthHandler, MountHandler, PolicyHandler, TransitKeyHandler
from stacks.provider.secret.pki import PkiAuthorityHandler, PkiRoleHandler
from stacks.provider.secret.resources import (
    Auth,
    ClientAuthority,
    ClientRole,
    Mount,
    PkiAuthority,
    PkiRole,
    Policy,
    TransitKey,
)
from stacks.provider.server import serve
from stacks.provider.signing.installed import CertificateHandler
from stacks.provider.signing.keys import KeyHandler
from stacks.provider.signing.requests import RequestHandler
from stacks.provider.signing.resources import Certificate, Key, Request, Token
from stacks.provider.signing.tokens import TokenHandler
from stacks.provider.storage.handlers import BucketHandler, IdentityHandler
from stacks.provider.storage.resources import Bucket, Identity

KINDS: dict[str, type[Handler]] = {
    Ruleset.TYPE: RulesetHandler,
    Record.TYPE: RecordHandler,
    Mount.TYPE: MountHandler,
    Policy.TYPE: PolicyHandler,
    Auth.TYPE: AuthHandler,
    TransitKey.TYPE: TransitKeyHandler,
    PkiAuthority.TYPE: PkiAuthorityHandler,
    PkiRole.TYPE: PkiRoleHandler,
    ClientAuthority.TYPE: ClientAuthorityHandler,
    ClientRole.TYPE: ClientRoleHandler,
    Identity.TYPE: IdentityHandler,
    Bucket.TYPE: BucketHandler,
    Role.TYPE: RoleHandler,
    Database.TYPE: DatabaseHandler,
    Token.TYPE: TokenHandler,
    Key.TYPE: KeyHandler,
    Request.TYPE: RequestHandler,
    Certificate.TYPE: CertificateHandler,
}

if __name__ == "__main__":
    serve(QhsProvider(KINDS), version("qhs"), sys.argv[1:])
