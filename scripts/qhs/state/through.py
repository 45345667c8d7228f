"""Runs a command of the engine whose state is in the object store of a site, in the network of the twin.

    python -m qhs.state.through TWIN SITE BUCKET STACK COMMAND...

What lets the command in lies on no disk: the key to the object store in a file of this process's memory, and in the
command's environment a token of the secret store, good for half an hour, which decrypts the secrets of the state. Both
stores are reached by ssh, through a proxy that knows no other name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import partial

from qhs import ruleset_access, trust_access
from qhs.child import handed_on, in_memory
from qhs.engine import abandoned, locks
from qhs.twin.names import Twin
from stacks.model.objects import STATE_USER
from stacks.provider.access import TrustAccess
from stacks.provider.carried import Carried
from stacks.provider.doors import Door, opened
from stacks.provider.secret import over_ssh
from stacks.provider.secret.client import StoreError
from stacks.provider.secret.stores import store
from stacks.provider.settings import ProviderError, Settings
from stacks.provider.storage.client import PORT, REGION, Objects, ObjectsError, client
from stacks.provider.storage.stores import door, identity_key

KEY = "aws_access_key_id = {}\naws_secret_access_key = {}\n"
FOREIGN = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "VAULT_NAMESPACE")
"""What would lead a client of ours elsewhere."""


def main(name: str, site: str, bucket: str, stack: str, *command: str) -> int:
    """Returns the command's exit code; 1 with a line on standard error where it cannot be run."""
    twin = Twin(name)
    settings = Settings(ssh_config=ruleset_access.write(twin), trust_access=trust_access.file(twin))
    try:
        access = TrustAccess.read(settings.trust_access)
        there, key = access.objects[site], identity_key(settings, site, STATE_USER)
        with opened({f"{there.name}:{PORT}": door(settings.machines(), there), **_nodes(settings, access, site)}) as at:
            objects = Objects(site, client(there.name, at, access.root, STATE_USER, key))
            _take_over(objects, bucket, stack)
            node, token = store(settings, site).let_in()
            environ = {
                "HTTPS_PROXY": at,
                "PULUMI_BACKEND_URL": f"s3://{bucket}?endpoint=https://{there.name}&s3ForcePathStyle=true&region={REGION}",
                "AWS_SHARED_CREDENTIALS_FILE": in_memory(f"[default]\n{KEY.format(STATE_USER, key)}"),
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_CA_BUNDLE": str(access.root),
                # The store answers with no checksum of S3's newer ones; TLS and the state's own digest do as well.
                "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
                "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
                "VAULT_ADDR": f"https://{node}:{over_ssh.PORT}",
                "VAULT_CACERT": str(access.root),
                "VAULT_TOKEN": token,
            }
            own = {
                name: text for name, text in os.environ.items() if name not in FOREIGN and not name.startswith("AWS_")
            }
            return handed_on(command, own | environ)
    except (ProviderError, StoreError, ObjectsError) as error:
        print(error, file=sys.stderr)
        return 1


def _nodes(settings: Settings, access: TrustAccess, site: str) -> Mapping[str, Door]:
    """The nodes of the secret store, by name and by address: one that does not lead may send one on to that."""
    found: dict[str, Door] = {}
    for node, address in access.stores[site].items():
        to = partial(Carried.to, settings.machines(), over_ssh.USER, node, f"{address}:{over_ssh.PORT}")
        found |= {f"{node}:{over_ssh.PORT}": to, f"{address}:{over_ssh.PORT}": to}
    return found


def _take_over(objects: Objects, bucket: str, stack: str) -> None:
    """From an engine of this machine that was killed."""
    for lock in objects.names(bucket, f"{locks(stack)}/"):
        if holder := abandoned(objects.read(bucket, lock)):
            print(f"taking over from pid {holder}, which ended without releasing {stack}", file=sys.stderr)
            objects.delete(bucket, lock)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
