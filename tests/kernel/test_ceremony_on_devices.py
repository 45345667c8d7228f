"""Ceremonies on devices that really are SoftHSM's; only ssh and the secret stores are stood in for (T-E04, T-E05)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qhs import image
from qhs.errors import UserError
from qhs.hsm.ceremony import conduct, replay, steps
from qhs.hsm.ceremony.script import Script
from qhs.hsm.ceremony.steps import Bench
from qhs.hsm.ceremony.transcript import Resumed, Stopped, Transcript
from qhs.progress import silent
from stacks.approvals import Approvers
from stacks.provider.settings import Settings
from stacks.provider.signing.device import Device, DeviceError
from stacks.provider.signing.keys import KeyHandler
from stacks.provider.signing.spec import REHEARSAL
from stacks.provider.signing.tokens import TokenHandler
from tests import ceremonies
from tests.kernel.hsm_estate import Estate
from tests.kernel.hsm_host import HsmHost, standing

SITE_OF = {"qhdc-hsm1": "qhdc", "ndc-hsm1": "ndc"}
SITES = tuple(dict.fromkeys(SITE_OF.values()))
LABEL = "con-dau-thu"
"""Of the token and of its key."""


class DiedError(Exception):
    """Of a run that nobody lets tidy up."""


@dataclass
class Room:
    """Where ceremonies are held: devices, stores, people and transcripts."""

    estate: Estate
    people: ceremonies.Keys
    approvers: Approvers
    folder: Path
    script: Script

    def bench(self, *, rehearsal: bool = False) -> Bench:
        label = self.script.token(rehearsal=rehearsal)
        tokens = [self.estate.token(Settings(), site, one, label) for one, site in SITE_OF.items()]
        return Bench(label, tokens, [*self.estate.stores.values()])  # type: ignore[list-item]  # they stand in for some

    def rehearse(self) -> Transcript:
        return Transcript.read(conduct.rehearse(self.script, self.bench(rehearsal=True), self.folder, silent))

    def run(self) -> Transcript:
        return Transcript.read(conduct.run(self.script, self.bench(), self.approvers, self.folder, silent))

    def prepare(self) -> Transcript:
        """Rehearse, and have enough people approve."""
        self.approve("chu-nhiem", "pho-chu-nhiem")
        return self.rehearse()

    def refused(self) -> str:
        """What `run` says, which changes nothing."""
        before = self.everything()
        with pytest.raises(UserError) as error:
            self.run()
        assert self.everything() == before
        return str(error.value)

    def approve(self, *names: str) -> None:
        file = self.approvers.folder / "a.json"
        file.write_text(ceremonies.approved(self.script, self.people, names).model_dump_json())

    def tokens(self) -> list[str]:
        """Those of all devices."""
        return [one["label"] for host in self.estate.hosts.values() for one in host.done("tokens")["tokens"]]

    def everything(self) -> Any:
        """What is on devices, in stores and in transcripts."""
        held = {name: host.done("tokens")["tokens"] for name, host in self.estate.hosts.items()}
        kept = {site: dict(one.secrets) for site, one in self.estate.stores.items()}
        return held, kept, {one.name: one.read_bytes() for one in self.folder.iterdir()}


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, HsmHost]]:
    with standing([*SITE_OF], tmp_path_factory.mktemp("devices"), image.ensure(print).path) as made:
        yield made


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> ceremonies.Keys:
    return ceremonies.keys(tmp_path_factory.mktemp("people"))


@pytest.fixture
def room(hosts: dict[str, HsmHost], people: ceremonies.Keys, tmp_path: Path) -> Iterator[Room]:
    """Without any token."""
    (folder := tmp_path / "ceremonies").mkdir()
    script = Script.read(ceremonies.written(tmp_path, people, devices=[*SITE_OF]))
    found = Room(Estate(hosts, SITES), people, ceremonies.approvers(tmp_path, people), folder, script)
    yield found
    found.estate.empty()


def test_it_takes_enough_approvers_and_its_transcript_replays(room: Room) -> None:
    """T-E04: one fewer than enough: refused; enough: done; witnesses sign; the replay says so."""
    room.rehearse()
    room.approve("chu-nhiem")
    assert "found chu-nhiem who approved; wanted 2" in room.refused()
    room.approve("chu-nhiem", "chanh-van-phong")
    transcript, path = room.run(), room.folder / "khoa-tthc-thu.json"
    assert len(transcript.done) == len(room.script.ceremony.steps)
    for one in room.bench().tokens:
        assert one.ask("prove", label=LABEL) == {"verified": True}
    for name, wanted in (
        ("attt", ["found nobody who witnessed it; wanted 2"]),
        ("co-yeu", ["found attt who witnessed it; wanted 2"]),
    ):
        found, said = replay.replayed(transcript, path, room.approvers)
        assert found
        assert said.faults == wanted
        transcript = replay.witness(found, name, room.people[name])
    found, said = replay.replayed(transcript, path, room.approvers)
    assert found
    assert (said.faults, said.code) == ([], 0)
    assert (said.approved, said.witnessed) == (["chanh-van-phong", "chu-nhiem"], ["attt", "co-yeu"])
    assert replay.on_devices(found, room.bench().tokens) == ([], [])


def test_the_same_again_is_refused_and_changes_nothing(room: Room) -> None:
    """T-E05: with its transcript, and without it too."""
    room.prepare()
    room.run()
    assert "found the transcript of this ceremony, done on" in room.refused()
    (room.folder / "khoa-tthc-thu.json").unlink()
    said = room.refused()
    assert all(f"{name}: a token {LABEL}" in said for name in SITE_OF)
    for name in SITE_OF:
        room.estate.hosts[name].delete(LABEL)
    assert f"found a secret store that knows the domain {LABEL}" in room.refused()


def test_a_rehearsal_is_as_the_ceremony_but_for_keys_and_leaves_nothing(room: Room) -> None:
    """T-E05."""
    before = room.everything()[:2]
    rehearsal = room.rehearse()
    assert room.everything()[:2] == before
    room.approve("chu-nhiem", "pho-chu-nhiem")
    real = room.run()
    assert real.course() == rehearsal.course()
    assert len(real.course()) == len(room.script.ceremony.steps)
    prints = [one.done[-1].answers["ndc-hsm1"]["fingerprints"][LABEL] for one in (real, rehearsal)]
    assert prints[0] != prints[1]
    found, _ = replay.told(real, room.folder)
    assert found
    assert list(replay.differing(found, rehearsal)) == []


def test_a_script_that_was_not_rehearsed_as_it_is_is_refused(room: Room) -> None:
    room.approve("chu-nhiem", "pho-chu-nhiem")
    assert "found no rehearsal of sha256:" in room.refused()
    room.rehearse()
    room.script = Script.of(room.script.text + "# khác\n", Path("script.yaml"))
    room.approve("chu-nhiem", "pho-chu-nhiem")
    assert "found no rehearsal of sha256:" in room.refused()


def test_an_approval_of_another_text_is_none(room: Room) -> None:
    room.approve("chu-nhiem", "pho-chu-nhiem")
    room.script = Script.of(room.script.text + "# khác\n", Path("script.yaml"))
    room.rehearse()
    assert "ceremony of khoa-tthc-thu@sha256:" in room.refused()


def test_a_run_that_dies_again_and_again_is_gone_on_with(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time a question later, which the device has answered and nobody has heard."""
    rehearsal = room.prepare()
    whole = Device.ask
    deaths = 0
    while True:
        left = iter(range(3 + deaths))

        def dying(device: Device, verb: str, left: Iterator[int] = left, **given: str) -> Any:
            answer = whole(device, verb, **given)
            if next(left, None) is None:
                raise DiedError
            return answer

        monkeypatch.setattr(Device, "ask", dying)
        try:
            transcript = room.run()
            break
        except DiedError:
            deaths += 1
        room.estate.again()
        with pytest.raises(UserError, match="was begun"):
            room.rehearse()
    assert deaths > 5
    assert transcript.course() == rehearsal.course()
    assert sum(isinstance(one.event, Resumed) for one in transcript.entries) == deaths
    assert replay.told(transcript, room.folder)[1] == []


def test_a_rehearsal_that_died_is_begun_anew(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Bench, "clear", lambda *_: None)
        room.rehearse()
    assert room.tokens() == [f"{REHEARSAL}{LABEL}"] * len(SITE_OF)
    room.rehearse()
    assert room.tokens() == []


def test_what_is_otherwise_than_the_script_expects_ends_it_there(room: Room, tmp_path: Path) -> None:
    text = room.script.text.replace("extractable: false", "extractable: true")
    room.script = Script.of(text, tmp_path / "script.yaml")
    with pytest.raises(conduct.StoppedError, match=r"step 3, make-key: .*found extractable False; wanted True"):
        room.rehearse()
    transcript = Transcript.read(room.folder / "khoa-tthc-thu.rehearsal.json")
    assert isinstance(transcript.entries[-1].event, Stopped)
    assert room.tokens() == []
    room.approve("chu-nhiem", "pho-chu-nhiem")
    assert "wanted the end last" in room.refused()


def test_what_is_otherwise_than_rehearsed_ends_it_there(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device of another kind came in between."""
    room.prepare()
    whole = steps.carry_out

    def changed(step: Any, bench: Bench) -> steps.Answers:
        return {name: {**one, "manufacturer": "another"} for name, one in whole(step, bench).items()}

    monkeypatch.setattr(steps, "carry_out", changed)
    with pytest.raises(conduct.StoppedError, match="step 1, make-token: found other answers than in the rehearsal"):
        room.run()


def test_no_pin_is_in_a_transcript(room: Room) -> None:
    room.prepare()
    text = room.run().text()
    pins = [
        pin
        for name, site in SITE_OF.items()
        for pin in room.estate.stores[site].secrets[f"hsm/{name}/{LABEL}"].values()
    ]
    assert len(pins) == 2 * len(SITE_OF)
    assert [pin for pin in pins if pin in text] == []


def test_devices_are_compared_with_what_was_recorded(room: Room) -> None:
    room.prepare()
    found, _ = replay.told(room.run(), room.folder)
    assert found
    last = room.bench().tokens[1]

    def said() -> tuple[list[str], list[str]]:
        return replay.on_devices(found, room.bench().tokens)

    last.ask("remove-key", label=LABEL)
    assert said() == ([f"ndc-hsm1: found no key {LABEL}; wanted the one that was recorded"], [])
    last.ask("make-key", label=LABEL, algorithm="rsa-3072", use="sign")
    assert said() == ([f"ndc-hsm1: found another key {LABEL}; wanted the one that was recorded"], [])
    room.estate.hosts["ndc-hsm1"].delete(LABEL)
    assert said() == (["ndc-hsm1: no token"], [])
    room.estate.silent = {"ndc-hsm1"}
    room.estate.again()
    faults, (gap,) = said()
    assert faults == []
    assert gap.startswith("ndc-hsm1: it does not answer")


def test_the_signing_stacks_take_over_what_a_ceremony_made(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """They find token, domain and key, and make none of them."""
    room.prepare()
    made = room.run().done[-1].answers
    room.estate.stand_in(monkeypatch)
    for site in SITES:
        machines = [name for name, at in SITE_OF.items() if at == site]
        kept = room.estate.stores[site].secrets[f"signing/{LABEL}/{LABEL}"]
        assert steps.fingerprint(kept) == made[machines[0]]["fingerprints"][LABEL]
        shared = {"site": site, "devices": machines, "token": LABEL, "elsewhere": {}, "founds": False}
        own = {**shared, "keys": [LABEL]}
        assert TokenHandler(Settings()).write("urn:x", own) == {"gaps": []}
        key = KeyHandler(Settings()).write("urn:x", {**shared, "label": LABEL, "algorithm": "rsa-3072", "use": "sign"})
        assert steps.fingerprint(key) == made[machines[0]]["fingerprints"][LABEL]
        assert key["gaps"] == []


def test_only_tokens_of_rehearsals_can_be_taken_away(room: Room) -> None:
    given = {"so_pin": "officer-of-the-test-1"}
    host = room.estate.hosts["ndc-hsm1"]
    rehearsal = {"token": f"{REHEARSAL}a"}
    for own in ({"token": LABEL}, rehearsal):
        host.done("make-token", **own, **given, pin="user-of-the-test-1")
    assert host.refused("remove-token", token=LABEL, **given)[0] == "kept"
    assert host.refused("remove-token", **rehearsal, so_pin="another-of-the-test-1")[0] == "pin"
    assert [one["label"] for one in host.done("tokens")["tokens"]] == [LABEL, f"{REHEARSAL}a"]
    assert host.done("remove-token", **rehearsal, **given) == {"removed": True}
    assert [one["label"] for one in host.done("tokens")["tokens"]] == [LABEL]
    with pytest.raises(DeviceError, match="knows no PIN"):
        room.bench().tokens[1].remove()
