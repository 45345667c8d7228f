"""`qhs bench plan`: a catalogue with more tenants is a good one, and what grows faster than they do is said."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from qhs.bench import tenants
from qhs.bench.descendants import Descendants
from qhs.bench.plan import LAYERS, BenchReport, Measured, parsed, table
from qhs.errors import UserError
from stacks.layers import stack_names
from stacks.model import Estate
from stacks.model.cloud import PARTS, places
from stacks.model.data import databases
from stacks.model.objects import buckets
from stacks.model.rules import rulesets
from stacks.model.signing import tokens
from tests.unit.catalogue_copy import Copy


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Estate:
    return Copy.make(tmp_path_factory.mktemp("once")).read()


@pytest.fixture(scope="module")
def tenfold(tmp_path_factory: pytest.TempPathFactory) -> Estate:
    """Whatever the model refuses, it refuses here."""
    copy = Copy.make(tmp_path_factory.mktemp("tenfold"))
    tenants.write(copy.folder / "catalogue", copy.folder / "estate.yaml", 10)
    return copy.read()


def test_each_application_of_the_clusters_stands_ten_times(once: Estate, tenfold: Estate) -> None:
    zones = once.catalogue.services[PARTS].places
    clustered = {name for name, one in once.catalogue.tenants.items() if one.zone in zones}
    assert len(clustered) > 30
    alone = once.catalogue.tenants.keys() - clustered
    wanted = alone | clustered | {f"{name}-{number}" for name in clustered for number in range(2, 11)}
    assert tenfold.catalogue.tenants.keys() == wanted
    for site in ("qhdc", "ndc"):
        assert len([*places(tenfold, site)]) == 10 * len([*places(once, site)])


def test_each_of_them_has_what_the_first_has(once: Estate, tenfold: Estate) -> None:
    """A database, a bucket, an archive, a token: of its own, and of the same kind."""
    for name, one in once.catalogue.tenants.items():
        again = tenfold.catalogue.tenants.get(f"{name}-7")
        if again:
            own = {key: [f"{thing}-7" for thing in getattr(one, key)] for key in tenants.OWN}
            assert again == one.model_copy(update=own)
    kinds = (databases, buckets)
    for kind in kinds:
        names = Counter(one.name for one in kind(tenfold))
        assert names.total() > 9 * len([*kind(once)])
        assert names.most_common(1)[0][1] == 1
    alone = [one.label for one in tokens(once) if f"{one.label}-7" not in {other.label for other in tokens(tenfold)}]
    assert len([*tokens(tenfold)]) == 10 * len([*tokens(once)]) - 9 * len(alone)
    assert sorted(alone) == ["drill-reports", "images", "ky-so", "time-stamp"]


def test_one_time_is_the_catalogue_as_it_is(once: Estate, tmp_path: Path) -> None:
    copy = Copy.make(tmp_path)
    tenants.write(copy.folder / "catalogue", copy.folder / "estate.yaml", 1)
    assert copy.read().catalogue == once.catalogue


def test_stacks_that_are_not_planned_do_not_know_of_applications(once: Estate, tenfold: Estate) -> None:
    left = {one.layer for one in stack_names(once)} - {*LAYERS}
    assert left == {"network"}
    for site in once.active_sites:
        assert rulesets(tenfold, site) == rulesets(once, site)


def test_the_copy_is_all_that_is_written(tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in tenants.CATALOGUE.iterdir()}
    copy = tenants.copy(tmp_path / "clone", 2)
    assert (copy / "stacks/catalogue/tenants.yaml").read_bytes() != before[tenants.CATALOGUE / "tenants.yaml"]
    assert {path: path.read_bytes() for path in tenants.CATALOGUE.iterdir()} == before
    told = "from policies import pack; from stacks.model.load import CATALOGUE; print(CATALOGUE, pack.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", told],
        env={"PYTHONPATH": str(copy)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(copy / "stacks/catalogue"), str(copy / "policies/pack/__init__.py")]


def measured(times: int, tenants: int, processor_seconds: float, peak_mb: float) -> Measured:
    return Measured(
        times=times, tenants=tenants, resources=1, seconds=9, processor_seconds=processor_seconds, peak_mb=peak_mb
    )


def report(*one: Measured) -> BenchReport:
    return BenchReport(environment="prod", measured=[*one])


def test_what_grows_as_fast_as_the_tenants_is_good() -> None:
    assert report(measured(1, 40, 10, 1000)).faster == []
    assert report(measured(1, 40, 10, 1000), measured(3, 120, 30, 3000), measured(10, 400, 100, 10000)).faster == []


def test_what_grows_faster_is_said_of_each_step() -> None:
    steps = (measured(1, 40, 10, 1000), measured(3, 120, 30.1, 2000), measured(10, 400, 50, 7000))
    assert report(*steps).faster == [
        "found 3.01 times the processor time (10 to 30.1) from 40 to 120 tenants, wanted at most 3.00 times",
        "found 3.50 times the memory (2000 to 7000) from 120 to 400 tenants, wanted at most 3.33 times",
    ]


def test_each_catalogue_is_a_line_with_what_a_tenant_costs() -> None:
    console = Console(width=160)
    with console.capture() as shown:
        console.print(table(report(measured(3, 120, 30, 2400))))
    lines = [" ".join(line.replace("│", " ").split()) for line in shown.get().splitlines()]
    assert "3 120 1 9.0 30.0 2400.0 0.07 0.25 20.00" in lines


@pytest.mark.parametrize("text", ["", "0,1", "3,1", "1,1", "1,x", "1.5"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="each more than the last"):
        parsed(text)


def test_times_are_numbers() -> None:
    assert parsed("1,3,10") == [1, 3, 10]


def test_what_children_of_children_need_counts() -> None:
    """Each holds 60 MB, and one of them works for half a second."""
    work = "held = b'x' * 60_000_000; import time\nwhile time.process_time() < 0.5: pass\ntime.sleep(1)"
    parent = f"import subprocess, sys; held = b'x' * 60_000_000\nsubprocess.run([sys.executable, '-c', {work!r}])"
    with Descendants() as needed:
        subprocess.run([sys.executable, "-c", parent], check=True)
    assert 120e6 < needed.peak < 200e6
    assert 0.5 <= needed.processor_seconds < 2
