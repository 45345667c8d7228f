"""What of an application has the hook that refuses its change on some days, and whose that hook takes it for."""

from __future__ import annotations

from typing import Any

import pytest

from stacks import cloud
from stacks.components.frozen import NAME
from stacks.components.kept import NAME as KEPT
from stacks.model import load
from stacks.model.cloud import places
from stacks.model.data import databases
from stacks.model.objects import buckets, users
from stacks.name import SITELESS
from stacks.provider.data.resources import Database, Role
from stacks.provider.storage.resources import Bucket, Identity
from tests.policies.recorded import asked, recorded_cloud

ESTATE = load("twin")


def hooked(layer: str, site: str) -> list[Any]:
    """What is asked before it is changed."""
    return [one for one in asked("twin", site, layer) if NAME in one.hooks.before_update]


@pytest.mark.parametrize("site", ["qhdc", "ndc"])
def test_all_that_an_application_has_in_a_cluster_is_known_for_its_own(site: str) -> None:
    raws = recorded_cloud("twin", site)
    tenants = {one.urn: one.props["tenant"] for one in raws if one.type == "qhs:cloud:Tenant"}
    owners = {(one.type, one.name): tenants[one.parent] for one in raws if one.parent in tenants}
    assert set(owners.values()) == {one.name for one in places(ESTATE, site)}
    found = hooked("cloud", site)
    assert {(one.type, one.name): cloud.whose(site, one.type, one.name) for one in found} == owners
    assert all(list(one.hooks.before_delete) == [NAME] for one in found)


def test_a_database_and_a_bucket_are_asked_of_before_they_go_and_a_role_before_it_is_changed() -> None:
    found = hooked(SITELESS, "qhdc")
    those = [*databases(ESTATE), *databases(ESTATE), *buckets(ESTATE)]
    assert len(found) == len(those)
    for one in found:
        goes = {Role.TYPE: [], Database.TYPE: [KEPT, NAME], Bucket.TYPE: [KEPT, NAME]}[one.type]
        assert list(one.hooks.before_delete) == goes


def test_who_comes_into_a_sites_objects_is_asked_of_where_it_is_an_application() -> None:
    found = hooked("signing", "ndc")
    assert {one.type for one in found} == {Identity.TYPE}
    assert sorted(one.object["name"] for one in found) == sorted(one.name for one in users(ESTATE, "ndc"))
    assert all(list(one.hooks.before_delete) == [NAME] for one in found)
