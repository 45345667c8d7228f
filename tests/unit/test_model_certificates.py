"""The names that a site's authority signs certificates for."""

from __future__ import annotations

from datetime import timedelta
from fnmatch import fnmatch

import pytest
from issuing import MACHINE_FOR

from stacks.model import load, service_names
from stacks.model.certificates import HOURS, names, patterns


@pytest.mark.parametrize("environment", ["twin", "prod"])
def test_every_name_of_a_machine_is_of_its_own_site_alone_unless_it_follows_the_lease(
    environment: str,
) -> None:
    estate = load(environment)
    moves = f".{service_names.domain(estate)}"
    allowed = {site: patterns(estate, site) for site in estate.inventory.sites}
    for machine in estate.machines.values():
        for name in names(estate, machine):
            wanted = service_names.sites(estate) if name.endswith(moves) else [machine.site]
            assert [site for site, some in allowed.items() if any(fnmatch(name, one) for one in some)] == wanted


def test_the_store_signs_for_as_long_as_the_authority_of_the_beginning() -> None:
    assert timedelta(hours=HOURS) == MACHINE_FOR
