"""Certificates for what has asked for one: in the twin those who answer are at hand, and do so at once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from cryptography import x509

from qhs import pki, trust_access, whole
from qhs.engine import Engine, run_pulumi
from qhs.pki import root, stand_in
from qhs.twin.names import Twin
from stacks.model import Estate, certificates
from stacks.model.signing import tokens
from stacks.name import StackName

RENEW_AT = 2 / 3
"""Of the time of the certificate of a site's authority."""


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


def certify_authorities(engine: Engine, twin: Twin, estate: Estate, stacks: Iterable[str]) -> list[str]:
    """Have the root sign for the authorities of sites that have no certificate yet, or need the next; their stacks."""
    found, own = [], pki.folder(twin)
    for stack in stacks:
        site = str(StackName.parse(stack).site)
        came = trust_access.certificates(twin) / f"{certificates.own(site)}.pem"
        if came.is_file() and not _due(x509.load_pem_x509_certificate(came.read_bytes())):
            continue
        request = run_pulumi(engine, ["stack", "output", "authority"], stack=stack)
        whole.write(came, root.sign_authority(own, request, site, certificates.networks(estate, site)))
        found.append(stack)
    return found


def _due(one: x509.Certificate) -> bool:
    span = one.not_valid_after_utc - one.not_valid_before_utc
    return datetime.now(UTC) > one.not_valid_before_utc + span * RENEW_AT
