"""What canaries say, against the model: nobody is asked here."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from qhs.cloud import cli
from qhs.cloud import reach as reach_
from qhs.cloud.asking import Pod, Said
from qhs.cloud.checks import READ, REFUSALS, UNWRITTEN, WRITTEN, judged
from qhs.cloud.reach import Target, reach
from qhs.cloud.reach import judged as reached
from qhs.cloud.status import CloudReport
from qhs.twin.names import Twin
from stacks.model import load
from stacks.model.cloud import places
from stacks.model.given import given

ESTATE = load("twin")
PLACES = {site: {one.name: one for one in places(ESTATE, site)} for site in ("qhdc", "ndc")}
ADDRESS = {"mail": "10.16.66.2", "cu-tri": "10.16.66.3"}


def whole(site: str) -> Said:
    """All that the model wants of a site."""
    pods = [
        Pod(tenant=name, name=f"{name}-{number}", node="n", addresses=[], ready=True)
        for name, place in PLACES[site].items()
        for number in range(place.copies)
    ]
    return Said(
        pods=pods, answers={name: answer(site, name) for name, one in PLACES[site].items() if one.copies}, silent={}
    )


def answer(site: str, name: str) -> dict[str, Any]:
    own, writes = given(ESTATE, site, PLACES[site][name]), site == "qhdc"
    buckets = {one: READ if one in own.archives else WRITTEN for one in own.buckets}
    if not writes:
        buckets = {one: READ if one in own.archives else f"503 {REFUSALS['buckets']}" for one in own.buckets}
    return {
        "secrets": READ,
        "databases": dict.fromkeys(own.databases, WRITTEN if writes else f"cannot {REFUSALS['databases']}"),
        "buckets": buckets,
    }


def test_an_estate_as_the_model_says_has_nothing_wrong() -> None:
    checks = judged(ESTATE, {site: whole(site) for site in PLACES}, "qhdc")
    assert not [one for one in checks if not one.as_wanted]
    assert {(one.site, one.tenant) for one in checks} == {(site, name) for site in PLACES for name in PLACES[site]}
    assert {one.what for one in checks} == {"pods", "secrets", "databases", "buckets"}
    assert {one.wanted for one in checks if one.site == "ndc" and one.what == "databases"} == {UNWRITTEN}


def test_where_no_node_is_of_its_zone_an_application_has_no_pod_and_is_not_asked() -> None:
    (check,) = [one for one in judged(ESTATE, {"ndc": whole("ndc")}, "qhdc") if one.tenant == "go-bang"]
    assert (check.what, check.wanted, check.as_wanted) == ("pods", "0 ready", True)


@pytest.mark.parametrize(
    ("site", "what", "of", "found", "as_wanted"),
    [
        ("qhdc", "databases", "cu-tri", "connection refused", False),
        ("ndc", "databases", "cu-tri", WRITTEN, False),
        ("ndc", "databases", "cu-tri", "connection refused", False),
        ("ndc", "databases", "cu-tri", f"cannot execute CREATE SCHEMA {REFUSALS['databases']}", True),
        ("qhdc", "buckets", "tai-lieu-ky-hop", "AccessDenied", False),
        ("ndc", "buckets", "tai-lieu-ky-hop", WRITTEN, False),
        ("ndc", "buckets", "tai-lieu-ky-hop", "NoSuchBucket", False),
    ],
)
def test_what_is_found_is_judged_by_the_site(site: str, what: str, of: str, found: str, as_wanted: bool) -> None:
    said = whole(site)
    (tenant,) = [name for name, one in said.answers.items() if of in one[what]]
    said.answers[tenant][what][of] = found
    (check,) = [one for one in judged(ESTATE, {site: said}, "qhdc") if (one.what, one.of) == (what, of)]
    assert (check.found, check.as_wanted) == (found, as_wanted)


def test_who_says_nothing_has_nothing() -> None:
    said = whole("ndc")
    del said.answers["cu-tri"]
    said.silent["cu-tri"] = "container not found"
    said.pods = [one for one in said.pods if one.tenant != "mail"]
    wrong = [one for one in judged(ESTATE, {"ndc": said}, "qhdc") if not one.as_wanted]
    assert {(one.tenant, one.what, one.found) for one in wrong} >= {
        ("cu-tri", "secrets", "container not found"),
        ("cu-tri", "databases", "container not found"),
        ("mail", "pods", "0 ready"),
    }


def test_what_answers_without_a_flow_is_told_and_so_is_an_own_part_that_does_not() -> None:
    place = PLACES["qhdc"]["cu-tri"]
    (postgres,) = [one.addresses[0].texts()[0] for one in place.reaches if one.service == "postgres"]
    targets = [
        Target(postgres, 5432, "postgres"),
        Target(postgres, 22, "ssh of it"),
        Target(ADDRESS["mail"], 8443, "mail at qhdc"),
        Target(ADDRESS["cu-tri"], 8443, "cu-tri at qhdc"),
    ]
    pods = [Pod(tenant=name, name=name, node="n", addresses=[at], ready=True) for name, at in ADDRESS.items()]

    def report(*found: str) -> tuple[list[str], dict[str, int], int]:
        said = {"qhdc": Said(pods=pods, answers={"cu-tri": list(found)}, silent={})}
        got = reached(ESTATE, said, targets)
        return got.wrong, got.unanswered, got.code

    assert report("open", "nothing", "refused", "open") == ([], {}, 0)
    for few in ([], ["open"]):
        silent = reached(ESTATE, {"qhdc": Said(pods=pods, answers={"cu-tri": few}, silent={})}, targets).silent
        assert silent["cu-tri at qhdc"] == f"found {len(few)} answers; wanted 4"
        assert silent["mail at qhdc"] == "found 0 answers; wanted 4"
    assert report("refused", "nothing", "nothing", "open") == ([], {"postgres": 1}, 0)
    assert report("open", "open", "open", "nothing") == (
        [
            f"cu-tri at qhdc reaches ssh of it ({postgres}/22)",
            "cu-tri at qhdc reaches mail at qhdc (10.16.66.2/8443)",
            "cu-tri at qhdc does not reach its own part 10.16.66.3",
        ],
        {},
        2,
    )


def test_a_canary_of_an_application_that_the_model_does_not_know_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left over of one that is gone; all others are tried as ever."""
    there = whole("ndc")
    there.pods.append(Pod(tenant="gone", name="gone-1", node="n", addresses=["10.20.66.9"], ready=True))
    rounds = []

    def asked(estate: Any, twin: Any, word: str, given: str = "[]") -> tuple[dict[str, Said], dict[str, str]]:
        rounds.append(word)
        answers = {name: ["nothing"] * len(json.loads(given)) for name in there.answers}
        return {"ndc": there.model_copy(update={"answers": answers})}, {}

    monkeypatch.setattr(reach_, "asked", asked)
    report = reach(ESTATE, Twin("any"))
    assert report.wrong == ["gone at ndc: found the canary gone-1; wanted none, as the model knows no such place"]
    assert (report.code, rounds, report.silent) == (2, ["pods", "reach"], {})
    assert report.cells > 0


def test_the_page_has_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checks = judged(ESTATE, {site: whole(site) for site in PLACES}, "qhdc")
    report = CloudReport(environment="twin", at=datetime.now(UTC), checks=checks, silent={}, code=0)
    monkeypatch.setattr(cli.status_, "status", lambda *_: report)
    done = CliRunner().invoke(cli.app, ["status", "--page", str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "page.html").read_text()
    assert not [name for name in PLACES["qhdc"] if name not in page]
