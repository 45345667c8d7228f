"""Who takes writes and how far copies are behind, by what machines say."""

from __future__ import annotations

from typing import Any

import pytest

from qhs.databases import cli
from qhs.drill.ground import Database

SITES = {"qhdc-db1": "qhdc", "qhdc-db2": "qhdc", "ndc-db1": "ndc"}
LEADS = {"role": "primary", "state": "running", "timeline": 3, "writable": True, "position": 1000, "free_mib": 500}
COPY = LEADS | {"role": "replica", "writable": False, "streams": True, "age": 40.0}
ALL = {"qhdc-db1": LEADS, "qhdc-db2": COPY, "ndc-db1": COPY | {"role": "standby_leader"}}


def judged(**changed: dict[str, Any] | str) -> cli.DatabasesReport:
    """`changed`: of a machine, by `-` as `_`; words are why it does not say."""
    found = {}
    for name, own in ALL.items():
        other = changed.get(name.replace("-", "_"), {})
        found[name] = Database(wrong=other) if isinstance(other, str) else Database(wrong="", **(own | other))
    return cli.judged("twin", found, SITES, 1000, 60)


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        pytest.param({}, 0, id="all have all"),
        pytest.param({"ndc_db1": {"position": 900, "age": 0.3}}, 0, id="a little behind"),
        pytest.param({"ndc_db1": {"position": 900, "age": 61.0}}, 2, id="further than it may be"),
        pytest.param({"ndc_db1": {"position": 900, "age": None}}, 2, id="behind, and nobody knows how far"),
        pytest.param({"qhdc_db2": {"streams": False}}, 2, id="a copy that follows nobody"),
        pytest.param({"ndc_db1": {"writable": True}}, 2, id="two take writes"),
        pytest.param({"qhdc_db1": COPY}, 2, id="nobody takes writes"),
        pytest.param({"ndc_db1": "no route to host"}, 3, id="a copy does not say"),
        pytest.param({"qhdc_db1": "no route to host"}, 3, id="who takes writes may be who does not say"),
        pytest.param({"qhdc_db1": "refused", "qhdc_db2": {"streams": False}}, 2, id="amiss whatever the silent one is"),
    ],
)
def test_what_machines_say_comes_to_one(changed: dict[str, Any], code: int) -> None:
    assert judged(**changed).code == code


def test_a_copy_whose_lateness_nobody_knows_is_named() -> None:
    said = cli.line(judged(ndc_db1={"position": 900, "age": None}))
    assert "how far ndc-db1 is behind nobody knows" in said


def test_a_copy_is_as_late_as_its_last_change_is_old_unless_it_has_all() -> None:
    report = judged(ndc_db1={"position": 900, "age": 0.3})
    late = {one.machine: (one.behind, one.late) for one in report.machines}
    assert late == {"qhdc-db1": (0, 0.0), "qhdc-db2": (0, 0.0), "ndc-db1": (100, 0.3)}
    assert cli.line(report) == "qhdc-db1 takes writes; no copy is more than 0.3 s behind (at most 60)"


def test_a_table_has_a_line_for_each_also_for_one_that_does_not_say() -> None:
    with cli.screen.capture() as shown:
        cli.screen.print(cli.table(judged(ndc_db1="no route to host")))
    lines = shown.get().splitlines()
    assert any("qhdc-db1" in one and "takes writes" in one for one in lines)
    assert any("ndc-db1" in one and "no route to host" in one for one in lines)
