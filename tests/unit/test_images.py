"""Where images are kept, who fetches them from there, and how they come in."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader
from typer.testing import CliRunner

from qhs.containers import cli, promotion
from qhs.errors import UserError
from qhs.inventory import inventory
from stacks.model import certificates, load
from stacks.model.estate import WORKER
from stacks.model.images import PORT, REGISTRY, registries

CERTS = Path(__file__).parents[2] / "roles/containerd/templates/etc/containerd/certs.d"


@pytest.mark.parametrize("name", ["twin", "prod"])
def test_every_node_fetches_from_its_own_site(name: str) -> None:
    estate = load(name)
    given, there = inventory(estate), registries(estate)
    assert there.keys() == {"qhdc", "ndc"}
    assert given["service_registry"]["hosts"] == [one.machine for one in there.values()]
    assert given["service_registry"]["hosts"] == given["service_packages"]["hosts"][:2]
    for machine in estate.machines.values():
        told = given["_meta"]["hostvars"][machine.name].get("containerd_registry")
        wanted = f"{there[machine.site].address}:{PORT}" if WORKER in machine.roles else None
        assert told == wanted, machine.name
    for site, one in there.items():
        assert one.name == f"registry.{site}.qhs.internal"
        assert one.name in certificates.names(estate, estate.machines[one.machine])
        assert one.address in given["_meta"]["hostvars"][one.machine]["pki_names"]


def test_nobody_comes_to_it_but_nodes_of_its_site() -> None:
    estate = load("prod")
    came = [one for one in estate.conversations if one.target.service == REGISTRY]
    assert {(one.source.name, one.target.place) for one in came} == {
        (f"{site}.{zone}", f"{site}.infra") for site in ("qhdc", "ndc") for zone in ("app", "gpu", "analytics")
    }
    assert {estate.catalogue.flows[one.flow].pods for one in came} == {False}


def test_containerd_knows_of_no_other() -> None:
    """Neither first, as `host`, nor after it, as `server`: left out, that is whom the image is named after."""
    assert [path.name for path in CERTS.iterdir()] == ["_default"]
    written = Environment(loader=FileSystemLoader(CERTS / "_default"), autoescape=True)
    there, root = "10.0.0.1:5000", "/etc/qhs/tls/ca.crt"
    text = written.get_template("hosts.toml.j2").render(containerd_registry=there)
    assert tomllib.loads(text) == {
        "server": f"https://{there}",
        "ca": root,
        "host": {f"https://{there}": {"capabilities": ["pull", "resolve"], "ca": root}},
    }


@dataclass
class Kept:
    """A registry that has what was brought to it."""

    site: str
    names: set[str] = field(default_factory=set)

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        """There is no connection."""

    def promote(self, built: Any) -> list[str]:
        done = [] if built.report.name in self.names else ["copied", "signed"]
        self.names.add(built.report.name)
        return done

    def complete(self, built: Any) -> bool:
        return built.report.name in self.names


def test_a_second_promotion_copies_nothing_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    there, said = [Kept("qhdc"), Kept("ndc", {"pause"})], []
    monkeypatch.setattr(promotion, "registries", lambda *_: iter(there))
    monkeypatch.setattr(cli, "progress", said.append)
    for module in (cli, promotion):
        monkeypatch.setattr(
            module, "ensure", lambda name, _: SimpleNamespace(report=SimpleNamespace(name=name, digest="sha256:0"))
        )
    runner = CliRunner()
    assert runner.invoke(cli.app, ["status", "--json"]).exit_code == 2
    assert runner.invoke(cli.app, ["promote", "pause"]).exit_code == 0
    assert said == ["qhdc: pause@sha256:0: copied, signed", "ndc: pause@sha256:0: there already, signed"]
    assert runner.invoke(cli.app, ["promote"]).exit_code == 0
    said.clear()
    assert runner.invoke(cli.app, ["promote"]).exit_code == 0
    assert {line.rpartition(": ")[2] for line in said} == {"there already, signed"}
    assert runner.invoke(cli.app, ["status", "--json"]).exit_code == 0


def test_an_image_that_is_none_is_refused_before_anybody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promotion, "registries", lambda *_: pytest.fail("somebody was asked"))
    result = CliRunner().invoke(cli.app, ["promote", "other"])
    assert isinstance(result.exception, UserError)
    assert "other: found no" in str(result.exception)


@pytest.mark.parametrize(("fault", "code"), [("", 0), ("found no signature; wanted one of 'Kho'", 2)])
def test_verify_names_what_is_not_signed(monkeypatch: pytest.MonkeyPatch, fault: str, code: int) -> None:
    there = [promotion.Found("qhdc", "pause", "sha256:0", ""), promotion.Found("ndc", "pause", "sha256:0", fault)]
    monkeypatch.setattr(promotion, "found", lambda *_: iter(there))
    result = CliRunner().invoke(cli.app, ["verify", "--json"])
    assert result.exit_code == code
    assert [(one["site"], one["fault"]) for one in json.loads(result.stdout)["images"]] == [
        ("qhdc", ""),
        ("ndc", fault),
    ]
