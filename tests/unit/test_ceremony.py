"""Scripts of ceremonies, their transcripts and the replay of these, without any device (T-E04, C-HSM-03)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from qhs import trust_access
from qhs.hsm.ceremony import cli, replay
from qhs.hsm.ceremony.script import Script
from qhs.hsm.ceremony.transcript import Began, Done, Transcript, TranscriptError
from stacks.approvals import Approvers
from stacks.model import ModelError, load
from stacks.signatures import SignatureError
from tests import ceremonies

AT = datetime(2026, 5, 4, 9, tzinfo=UTC)
ENOUGH = ("chu-nhiem", "pho-chu-nhiem")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> ceremonies.Keys:
    return ceremonies.keys(tmp_path_factory.mktemp("people"))


@pytest.fixture
def approvers(people: ceremonies.Keys, tmp_path: Path) -> Approvers:
    return ceremonies.approvers(tmp_path, people)


@pytest.fixture
def script(people: ceremonies.Keys, tmp_path: Path) -> Script:
    return Script.read(ceremonies.written(tmp_path, people))


def held(script: Script, people: ceremonies.Keys, *witnesses: str, by: tuple[str, ...] = ENOUGH) -> Transcript:
    """A ceremony that went to its end, approved and witnessed by these."""
    approval = ceremonies.approved(script, people, by, AT - timedelta(minutes=5))
    found, faults = replay.told(ceremonies.transcript(script, approval, AT), Path("transcript.json"))
    assert found
    assert faults == []
    for name in witnesses:
        found = replace(found, transcript=replay.witness(found, name, people[name]))
    return found.transcript


def faults(transcript: Transcript, approvers: Approvers) -> list[str]:
    return replay.replayed(transcript, Path("transcript.json"), approvers)[1].faults


def test_the_example_is_of_the_estate() -> None:
    script = Script.read(ceremonies.EXAMPLE)
    script.fit(load(script.ceremony.environment))
    assert script.labels == ["con-dau-thu"]


def steps(data: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = data["steps"]
    return found


WRONG: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown verb": (lambda data: steps(data)[2].update(do="export-key"), "steps.2 = "),
    "weak algorithm": (lambda data: steps(data)[2].update(algorithm="rsa-1024"), "algorithm = 'rsa-1024'"),
    "unknown field": (lambda data: steps(data)[2].update(pin="1234"), "pin = '1234'"),
    "nothing expected": (lambda data: steps(data)[3].pop("expect"), "expect"),
    "long label": (lambda data: data.update(token="a" * 23), "token = "),
    "label of devices": (lambda data: data.update({"token": "kek"}), "found kek; wanted none that devices have"),
    "label of rehearsals": (lambda data: data.update({"token": "rehearsal-a"}), "found rehearsal-a; wanted none"),
    "device twice": (lambda data: data["devices"].append("qhdc-hsm1"), "found qhdc-hsm1 twice; wanted each once"),
    "token later": (
        lambda data: steps(data).insert(0, steps(data).pop(1)),
        "found make-token as step 2; wanted it once",
    ),
    "no domain": (lambda data: steps(data).pop(1), "found make-kek as no step; wanted it once, as step 2"),
    "no record": (lambda data: steps(data).pop(), "found record as no step"),
    "not proved": (lambda data: steps(data).pop(3), "con-dau-thu, which no step proves"),
    "proved before": (
        lambda data: steps(data).insert(2, steps(data).pop(3)),
        "con-dau-thu, which no step before makes",
    ),
    "made twice": (lambda data: steps(data).insert(3, steps(data)[2]), "con-dau-thu, which is there by then"),
    "one witness": (lambda data: data["witnesses"].update(need=1), "witnesses.need = 1"),
    "too many": (lambda data: data["witnesses"].update(need=4), "found 4 of 3; wanted as many as are named"),
    "one key for two": (
        lambda data: data["witnesses"]["keys"].update(attt=data["witnesses"]["keys"]["co-yeu"]),
        "twice; wanted each once",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_right_is_refused_with_its_line(name: str, tmp_path: Path) -> None:
    change, said = WRONG[name]
    data = yaml.safe_load(ceremonies.EXAMPLE.read_text())
    change(data)
    path = tmp_path / "script.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    with pytest.raises(ModelError) as error:
        Script.read(path)
    assert said in str(error.value)
    assert all(one.where.startswith(f"{path}:") for one in error.value.findings)


def test_a_machine_without_a_device_is_refused_with_its_line(people: ceremonies.Keys, tmp_path: Path) -> None:
    script = Script.read(ceremonies.written(tmp_path, people, devices=["qhdc-hsm1", "qhdc-fw1"]))
    with pytest.raises(ModelError, match=r"script.yaml:\d+: found qhdc-fw1; wanted a device of twin: qhdc-hsm1"):
        script.fit(load("twin"))


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "script.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(ModelError, match="found no text"):
        Script.read(path)


def test_the_digest_is_of_the_file(script: Script, tmp_path: Path) -> None:
    done = subprocess.run(["sha256sum", tmp_path / "script.yaml"], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == script.digest


def test_enough_approvers_and_witnesses_make_it_whole(
    script: Script, people: ceremonies.Keys, approvers: Approvers
) -> None:
    assert faults(held(script, people, "attt", "kiem-toan"), approvers) == []
    assert faults(held(script, people, "attt"), approvers) == ["found attt who witnessed it; wanted 2"]
    (said,) = faults(held(script, people, "attt", "kiem-toan", by=("chu-nhiem",)), approvers)
    assert said == "entry 1: found chu-nhiem who approved; wanted 2"


def test_an_approval_counts_at_its_time_and_for_its_script(
    script: Script, people: ceremonies.Keys, approvers: Approvers
) -> None:
    approval = ceremonies.approved(script, people, ENOUGH, AT - timedelta(hours=2))
    late = ceremonies.transcript(script, approval, AT)
    assert any("wanted now" in one for one in faults(late, approvers))
    other = Script.of(script.text + "# khác\n", Path("other.yaml"))
    approval = ceremonies.approved(other, people, ENOUGH, AT - timedelta(minutes=5))
    assert any(
        "found no approval of khoa-tthc-thu" in one
        for one in faults(ceremonies.transcript(script, approval, AT), approvers)
    )


def test_no_byte_can_be_another_one(people: ceremonies.Keys, tmp_path: Path) -> None:
    """Each byte of everything but the signatures, which have a test of their own."""
    script = Script.read(ceremonies.written(tmp_path, people, devices=["qhdc-hsm1"]))
    text = held(script, people).text().encode()
    assert json.loads(text)["signatures"] == {}
    path, missed = tmp_path / "transcript.json", []
    for place in range(len(text)):
        path.write_bytes(text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :])
        try:
            found = Transcript.read(path)
        except TranscriptError:
            continue
        if not list(found.broken()):
            missed.append(place)
    assert missed == []


def test_what_means_the_same_but_is_written_otherwise_is_refused(
    script: Script, people: ceremonies.Keys, tmp_path: Path
) -> None:
    whole, path = held(script, people).text(), tmp_path / "transcript.json"
    path.write_text(whole)
    assert Transcript.read(path).text() == whole
    for other in (whole.rstrip(), whole.replace("Z", "+00:00", 1), whole.replace("{", '{"schema_version": 1,', 1)):
        assert json.loads(other)["schema_version"] == 1
        path.write_text(other)
        with pytest.raises(TranscriptError, match="not as it was written"):
            Transcript.read(path)


def test_an_entry_that_is_taken_out_is_missed_by_the_next(script: Script, people: ceremonies.Keys) -> None:
    first, second, third, *others = held(script, people).entries
    for entries, number in (([first, third, *others], 2), ([first, third, second, *others], 2)):
        said = next(Transcript(entries=entries).broken())
        assert said == f"entry {number}: found it after {second.hash[:16]}; wanted {first.hash[:16]}"
    assert next(Transcript(entries=[second, third]).broken()).endswith("wanted nothing")


def test_what_was_written_anew_is_signed_by_nobody(
    script: Script, people: ceremonies.Keys, approvers: Approvers
) -> None:
    """A chain that holds together, with other answers, and the signatures of the one before."""
    whole = held(script, people, "attt", "kiem-toan")
    device = script.ceremony.devices[0]
    forged = Transcript.begun(script, began(whole), AT)
    for one in whole.entries[1:]:
        event = one.event
        if isinstance(event, Done) and event.step == 1:
            event = event.model_copy(
                update={"answers": {**event.answers, device: {**event.answers[device], "serial": "x"}}}
            )
        forged = forged.noted(event, AT)
    said = faults(forged.model_copy(update={"signatures": whole.signatures}), approvers)
    assert said == ["found nobody who witnessed it; wanted 2"]


def began(transcript: Transcript) -> Began:
    event = transcript.entries[0].event
    assert isinstance(event, Began)
    return event


def another(answers: dict[str, dict[str, Any]], **change: object) -> dict[str, dict[str, Any]]:
    """As the last device would answer otherwise."""
    *_, last = answers
    return {**answers, last: {**answers[last], **change}}


@pytest.mark.parametrize(
    ("step", "change", "said"),
    [
        (2, {"extractable": True}, "step 3: ndc-hsm2: found extractable True; wanted False"),
        (2, {"algorithm": "ec-p256"}, "step 3: ndc-hsm2: found algorithm ec-p256; wanted rsa-3072"),
        (2, {"fingerprint": "00"}, "step 3: found keys that differ between"),
        (3, {"verified": False}, "step 4: ndc-hsm2: found verified False; wanted True"),
        (4, {"keys": []}, "step 5: ndc-hsm2: found keys []; wanted ['con-dau-thu']"),
        (4, {"fingerprints": {}}, "step 5: ndc-hsm2: found other keys than were made"),
    ],
)
def test_an_answer_that_is_otherwise_is_found(
    script: Script, people: ceremonies.Keys, step: int, change: dict[str, Any], said: str
) -> None:
    whole = held(script, people)
    forged = Transcript.begun(script, began(whole), AT)
    for one in whole.entries[1:]:
        event = one.event
        if isinstance(event, Done) and event.step == step + 1:
            event = Done(step=event.step, answers=another(event.answers, **change))
        forged = forged.noted(event, AT)
    _, found = replay.told(forged, Path("transcript.json"))
    assert any(one.startswith(said) for one in found), found


def test_a_step_that_is_left_out_is_found(script: Script, people: ceremonies.Keys) -> None:
    whole = held(script, people)
    for left_out, said in (
        (2, "found steps [1, 3, 4, 5]; wanted [1, 2, 3, 4, 5]"),
        (6, "found no end, or more behind"),
    ):
        forged = Transcript.begun(script, began(whole), AT)
        for number, one in enumerate(whole.entries[1:], 1):
            forged = forged if number == left_out else forged.noted(one.event, AT)
        assert any(one.startswith(said) for one in replay.told(forged, Path("transcript.json"))[1])


def test_a_rehearsal_is_compared_but_for_its_keys(script: Script, people: ceremonies.Keys) -> None:
    """T-E05."""
    rehearsal = ceremonies.transcript(script, None, AT - timedelta(days=1))
    real = held(script, people)
    assert rehearsal.head != real.head
    assert rehearsal.course() == real.course()
    found, _ = replay.told(real, Path("transcript.json"))
    assert found
    assert [one.partition(";")[0] for one in replay.differing(found, rehearsal)] == [
        f"found the rehearsal {rehearsal.head[:16]}"
    ]
    less = rehearsal.model_copy(update={"entries": rehearsal.entries[:-2]})
    assert "found other answers than in the rehearsal; wanted the same but for keys" in replay.differing(found, less)


@pytest.mark.parametrize(("name", "key"), [("attt", "stranger"), ("stranger", "stranger"), ("attt", "co-yeu")])
def test_who_is_no_witness_signs_nothing(script: Script, people: ceremonies.Keys, name: str, key: str) -> None:
    found, _ = replay.told(held(script, people), Path("transcript.json"))
    assert found
    with pytest.raises(SignatureError, match=f"found no key of {name}; wanted one that the script names"):
        replay.witness(found, name, people[key])


def test_one_signature_does_not_serve_two(script: Script, people: ceremonies.Keys, approvers: Approvers) -> None:
    one = held(script, people, "attt")
    twice = one.model_copy(update={"signatures": {**one.signatures, "co-yeu": one.signatures["attt"]}})
    assert faults(twice, approvers) == ["found attt who witnessed it; wanted 2"]


def test_the_command_shows_a_plan_and_who_must_approve_it(
    script: Script, people: ceremonies.Keys, approvers: Approvers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust_access, "approvers", lambda *_: approvers)
    file = str(tmp_path / "script.yaml")
    plan = json.loads(CliRunner().invoke(cli.app, ["plan", file, "--json"]).stdout)
    assert (plan["digest"], plan["quorum"], plan["approvers"]) == (script.digest, 2, sorted(ceremonies.APPROVERS))
    assert plan["approve"] == f"qhs approve new ceremony '{script.subject}' --reason WHY"
    shown = CliRunner().invoke(cli.app, ["plan", file]).stdout
    assert all(step.title.split()[0] in shown for step in script.ceremony.steps)
    assert plan["approve"] in shown


def test_a_script_of_another_environment_is_carried_out_by_nobody(people: ceremonies.Keys, tmp_path: Path) -> None:
    file = ceremonies.written(tmp_path, people, environment="prod")
    for verb in ("rehearse", "run"):
        done = CliRunner().invoke(cli.app, [verb, str(file)])
        assert "script.yaml:3: found prod; wanted twin, which runs here" in str(done.exception)


def test_witnesses_sign_as_processes_of_their_own_and_nothing_that_does_not_hold_together(
    script: Script,
    people: ceremonies.Keys,
    approvers: Approvers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each from a home of their own, without a state folder."""
    monkeypatch.setattr(trust_access, "approvers", lambda *_: approvers)
    path, real = tmp_path / "transcript.json", held(script, people)

    def witness(name: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("qhs")), "hsm", "ceremony", "witness", str(path)]
        env = {"PATH": os.environ["PATH"], "HOME": str(people[name].parent)}
        signing = [*command, "--as", name, "--key", str(people[name])]
        return subprocess.run(signing, env=env, capture_output=True, text=True, check=False)

    path.write_text(real.text().replace("2026-05-04", "2026-05-05", 1))
    assert "found the hash" in witness("attt").stderr
    broken = CliRunner().invoke(cli.app, ["verify", str(path)])
    assert broken.exit_code == 2
    path.write_text(real.text())
    assert CliRunner().invoke(cli.app, ["verify", str(path)]).exit_code == 2
    for name in ("attt", "co-yeu"):
        assert witness(name).returncode == 0
    whole = CliRunner().invoke(cli.app, ["verify", str(path), "--json"])
    assert whole.exit_code == 0
    assert json.loads(whole.stdout)["witnessed"] == ["attt", "co-yeu"]
