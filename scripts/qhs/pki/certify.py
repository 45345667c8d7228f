"""Certificates for the keys of the devices: in the twin they come from the stand-in authority, at once."""

from __future__ import annotations

import json

from qhs import pki, trust_access, whole
from qhs.engine import Engine, run_pulumi
from qhs.pki import stand_in
from qhs.twin.names import Twin
from stacks.model import Estate
from stacks.model.signing import tokens


def certify(engine: Engine, twin: Twin, estate: Estate, stack: str) -> list[str]:
    """Have a certificate for every key that a stack has a request for and none came back; the labels of those."""
    folder, own = trust_access.certificates(twin), pki.folder(twin)
    purposes = {key.label: key.purpose for token in tokens(estate) for key in token.keys}
    lacking = [label for label in purposes if not (folder / f"{label}.pem").is_file()]
    if not lacking:
        return []
    requests = json.loads(run_pulumi(engine, ["stack", "output", "requests", "--json"], stack=stack))
    whole.write(folder / f"{stand_in.NAME}.pem", stand_in.ensure(own))
    for label in lacking:
        whole.write(folder / f"{label}.pem", stand_in.issue(own, requests[label], purposes[label]))
    return lacking
