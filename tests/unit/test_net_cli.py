"""`qhs net` as a user meets it: output, exit codes, speed."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from qhs.errors import UserError
from qhs.net import cli
from qhs.net.docs import FOLDER
from qhs.net.prove import Facts, Proof, prove
from qhs.net.prove.kernel import missing
from qhs.net.prove.plan import prove_plan
from qhs.net.prove.report import ProveReport
from stacks.model import Estate, load
from tests.pace import Pace

NOW = datetime(2026, 12, 1, tzinfo=UTC)
needs_nft = pytest.mark.skipif(missing() is not None, reason=f"rulesets cannot be loaded: {missing()}")
type Replace = Callable[[Proof], None]


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch) -> Replace:
    """Lets the command print a proof of the test's own."""

    def set_proof(proof: Proof) -> None:
        def given(_estate: Estate, _now: datetime) -> Proof:
            return proof

        monkeypatch.setattr(cli, "prove_plan", given)

    return set_proof


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, list(words))
    return done.exit_code, done.stdout


@needs_nft
def test_a_proof_without_violation_ends_with_0_and_counts_its_cells() -> None:
    code, shown = run("prove", "--env", "twin", "--json")
    report = ProveReport.model_validate_json(shown)  # its schema is docs/network/prove.schema.json
    assert (code, report.code, report.violations) == (0, 0, [])
    assert report.limits == load("twin").inventory.limit_lines()
    assert report.total == sum(kind.cells for kind in report.kinds.values()) > 10_000


def test_a_violation_ends_with_2_and_shows_packet_and_rule(
    known: Facts, listings: dict[str, Any], instead: Replace
) -> None:
    listings["qhdc-fw1"]["nftables"].append(
        {"rule": {"family": "inet", "table": "qhs", "chain": "forward", "comment": "hole", "expr": [{"accept": None}]}}
    )
    instead(prove(known, listings, NOW))
    code, shown = run("prove")
    assert code == 2
    assert "more of kind edge: see --json" in shown
    assert "qhdc-fw1 internet to data: hole" in shown
    code, shown = run("prove", "--json")
    assert (code, len(json.loads(shown)["violations"]) > 20) == (2, True)


def test_an_incomplete_proof_ends_with_3(instead: Replace) -> None:
    instead(Proof((), ("qhdc-fw2",)))
    code, shown = run("prove")
    assert code == 3
    assert "incomplete, no rules from: qhdc-fw2" in shown


def test_a_live_proof_of_anything_but_the_twin_is_refused() -> None:
    refusal = CliRunner().invoke(cli.app, ["prove", "--env", "prod", "--live"]).exception
    assert isinstance(refusal, UserError)
    assert refusal.what == "found --live with --env prod; wanted the twin: nothing else runs here"


def test_the_map_goes_where_it_is_told(tmp_path: Path) -> None:
    code, shown = run("map", "--to", str(tmp_path / "map.svg"))
    assert (code, shown) == (0, "")
    assert (tmp_path / "map.svg").read_bytes() == (FOLDER / "map.svg").read_bytes()
    assert run("map")[1] == (FOLDER / "map.svg").read_text(encoding="utf-8")


@needs_nft
def test_every_cell_of_prod_is_decided_in_ten_seconds() -> None:
    """Processor time of this process and of nft: what else runs on the machine does not count."""
    estate = load("prod", NOW)
    pace = Pace()
    before = time.process_time() + _children()
    proof = prove_plan(estate, NOW)
    spent = time.process_time() + _children() - before
    assert [cell for cell in proof.cells if cell.packet] == []
    assert len(proof.cells) > 70_000
    assert spent <= pace.limit(10)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
