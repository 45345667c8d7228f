"""What whoever provisions may do at a secret store that was begun by an earlier version of the role."""

from __future__ import annotations

from pathlib import Path

from qhs.secret_stores import rights
from tests.kernel.secret_engine import Direct, serving


def test_a_store_of_before_grants_what_a_new_one_does_and_is_left_alone_then(tmp_path: Path) -> None:
    with serving(tmp_path) as address:
        found = Direct(address)
        found.write(rights.POLICY, policy='path "pki/*" { capabilities = ["read"] }')
        assert rights.granted(found)
        policy = (found.read(rights.POLICY) or {})["policy"]
        assert 'path "kubernetes/*" { capabilities = ["create", "read", "update", "delete", "list"] }' in policy
        assert not rights.granted(found)
