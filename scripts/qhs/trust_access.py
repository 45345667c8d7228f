"""How Pulumi's plugin gets into the secret stores, and where certificates from outside are put for it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from qhs import pki, whole
from qhs.pki import root
from qhs.pki.credentials import PROVISIONER, PROVISIONERS
from qhs.twin.names import Twin
from stacks.approvals import Approvers
from stacks.model import Estate, data, kubernetes
from stacks.model.objects import object_stores
from stacks.model.signing import stores


def file(twin: Twin) -> Path:
    """Where `write` puts what the plugin needs to know."""
    return twin.state / "trust-access.json"


def current(twin: Twin) -> Path:
    """What `write` wrote, once what lets in is good for an hour at least: a shell is open for longer than that is."""
    PROVISIONERS.current(pki.ensure(twin), PROVISIONER)
    return file(twin)


def write(twin: Twin, estate: Estate) -> Path:
    """What the plugin needs to know; whoever reads it gets in for some hours."""
    own, path = pki.ensure(twin), file(twin)
    access = {
        "root": str(root.certificate(own)),
        "provisioner": str(PROVISIONERS.current(own, PROVISIONER)),
        "stores": stores(estate),
        "databases": {site: asdict(one) for site, one in data.members(estate).items()},
        "objects": {site: asdict(one) for site, one in object_stores(estate).items()},
    }
    access["clusters"] = {site: asdict(one) for site, one in kubernetes.apis(estate).items()}
    access["approvals"] = approvers(twin, estate).model_dump(mode="json")
    text = json.dumps(access, indent=1) + "\n"
    if not path.is_file() or path.read_text() != text:
        whole.write(path, text)
    return path


def approvers(twin: Twin, estate: Estate) -> Approvers:
    """Who may approve what cannot be undone, and where approvals lie."""
    folder = twin.state / "approvals"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Approvers(folder=folder, signers=twin.state / "approvers", quorum=estate.inventory.signing.quorum)


def certificates(twin: Twin) -> Path:
    """The folder for them: `LABEL.pem` the chain of a key, `AUTHORITY.pem` what it leads to."""
    folder = twin.state / "certificates"
    folder.mkdir(exist_ok=True, mode=0o700)
    return folder
