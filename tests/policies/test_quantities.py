"""What a quota comes to, in the forms that the API has for quantities (C-DR-08)."""

from __future__ import annotations

import pytest

from policies.cluster import QuotaSpec, ResourceQuota
from policies.known import Undecided
from policies.rules.capacity import _quantity


def quota(said: str) -> ResourceQuota:
    return ResourceQuota.model_construct(spec=QuotaSpec.model_construct(hard={"limits.memory": said}))


@pytest.mark.parametrize(
    ("said", "gib"),
    [("512Mi", 0.5), ("1.5Gi", 1.5), ("2Ti", 2048.0), ("1073741824", 1.0), ("524288Ki", 0.5), ("2G", 2e9 / 2**30)],
)
def test_memory_is_counted_in_gib(said: str, gib: float) -> None:
    assert _quantity(quota(said), "memory_gib") == gib


def test_what_a_quota_does_not_name_is_none_of_it() -> None:
    assert _quantity(quota("1Gi"), "cpu") == 0


@pytest.mark.parametrize("said", ["1e3", "5Pi", "many"])
def test_a_form_that_is_not_known_is_decided_by_nobody(said: str) -> None:
    with pytest.raises(Undecided, match=said):
        _quantity(quota(said), "memory_gib")
