"""The enclave's inventory: placed by the catalogue, apart from the estate, refused wherever it would touch it."""

from pathlib import Path

import pytest

from stacks.model import ModelError, load
from stacks.model.enclave import ENCLAVE, islanders


def test_its_machines_have_the_addresses_of_their_zone_and_are_not_managed() -> None:
    estate = load("twin")
    found = islanders(estate)
    assert [one.name for one in found] == ["qhdc-records1", "qhdc-records2"]
    assert found[0].cidrs == ("10.17.129.10/20", "fd51:1:0:18::10a/64")
    assert not {one.name for one in found} & estate.machines.keys()
    assert "qhdc.secret" not in {port.place for host in estate.machines.values() for port in host.interfaces}


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("zone: secret", "zone: app", r"enclave.yaml:5: found zone app; wanted one that no firewall .*: secret"),
        ("site: qhdc", "site: ndc", r"enclave.yaml:4: found site ndc; wanted one that secret is at: \['qhdc'\]"),
        ("records:", "db:", r"found qhdc-db1, which the estate manages; wanted another name \(C-SEC-01\)"),
        ("count: 2", "count: 2, management: true", r"found groups.records.management = True"),
    ],
)
def test_whatever_would_join_it_to_the_estate_is_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    changed = ENCLAVE.read_text().replace(old, new, 1)
    assert changed != ENCLAVE.read_text()
    (tmp_path / "enclave.yaml").write_text(changed)
    with pytest.raises(ModelError, match=said):
        islanders(load("twin"), tmp_path / "enclave.yaml")


def test_two_groups_on_one_number_are_refused(tmp_path: Path) -> None:
    more = "  archive: { count: 1, number: 11, title: { vi: Lưu trữ, en: Archive } }\n"
    (tmp_path / "enclave.yaml").write_text(ENCLAVE.read_text() + more)
    with pytest.raises(ModelError, match=r"qhdc-archive1 and qhdc-records2 at 10.17.129.11; wanted numbers of their"):
        islanders(load("twin"), tmp_path / "enclave.yaml")
