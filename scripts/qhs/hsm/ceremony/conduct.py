"""How a ceremony is rehearsed and carried out, step by step, with its transcript written as it goes (C-HSM-03)."""

from __future__ import annotations

from pathlib import Path

from qhs.errors import UserError
from qhs.hsm.ceremony import replay, steps
from qhs.hsm.ceremony.script import ACTION, Script
from qhs.hsm.ceremony.steps import Bench
from qhs.hsm.ceremony.transcript import Began, Book, Done, Ended, Resumed, Stopped, Transcript, TranscriptError
from qhs.progress import Progress
from stacks.approvals import Approval, ApprovalError, Approvers


class StoppedError(Exception):
    """A step was otherwise than expected, and nothing was done after it."""


def transcript_at(folder: Path, script: Script, *, rehearsal: bool) -> Path:
    """Where the transcript of a ceremony lies, or of its rehearsal."""
    return folder / f"{script.ceremony.name}{'.rehearsal' if rehearsal else ''}.json"


def rehearse(script: Script, bench: Bench, folder: Path, progress: Progress) -> Path:
    """Carry the script out on a token that is gone afterwards; the transcript. Needs no approval.

    Raises StoppedError; UserError where the ceremony was begun: then its rehearsal is evidence, and stays as it is.
    """
    real, own = (transcript_at(folder, script, rehearsal=one) for one in (False, True))
    if real.exists():
        raise UserError(f"{real}: found the transcript of a ceremony that was begun; wanted none", "rehearse before it")
    bench.clear(script.labels)  # what a rehearsal that died has left
    began = Began(script=script.text, token=bench.label, approval=None, rehearsed=None)
    try:
        _carry_out(script, bench, Book(own, Transcript.begun(script, began)), None, progress)
    finally:
        bench.clear(script.labels)
    return own


def run(script: Script, bench: Bench, approvers: Approvers, folder: Path, progress: Progress) -> Path:
    """Carry it out for good; the transcript. What a run that died had begun is gone on with.

    Raises StoppedError; UserError where it was done before, was not rehearsed, is not approved, or anything is there.
    """
    path = transcript_at(folder, script, rehearsal=False)
    before = _read(path) if path.exists() else None
    if before is not None:
        _refuse_another(script, before, path)
    rehearsal = _rehearsal(script, transcript_at(folder, script, rehearsal=True))
    approval = _approved(script, approvers)
    if before is None:
        _refuse_what_is_there(bench)
        began = Began(script=script.text, token=bench.label, approval=approval, rehearsed=rehearsal.head)
        book = Book(path, Transcript.begun(script, began))
    else:
        book = Book(path, before)
        book.note(Resumed(approval=approval))
    _carry_out(script, bench, book, rehearsal, progress)
    return path


def _carry_out(script: Script, bench: Bench, book: Book, rehearsal: Transcript | None, progress: Progress) -> None:
    """Each step that is not done yet, as expected and as rehearsed, or it ends there."""
    done, devices = len(book.transcript.done), script.ceremony.devices
    for number, step in list(enumerate(script.ceremony.steps, 1))[done:]:
        progress(f"step {number} of {len(script.ceremony.steps)}, {step.do} on {', '.join(devices)}: {step.title}")
        answers = steps.carry_out(step, bench)
        faults = list(steps.faults(step, answers, devices))
        if rehearsal and (number, steps.comparable(answers)) != rehearsal.course()[number - 1]:
            faults.append("found other answers than in the rehearsal; wanted the same but for keys")
        if faults:
            book.note(Stopped(step=number, answers=answers, faults=faults))
            raise StoppedError(f"step {number}, {step.do}: {'; '.join(faults)}")
        book.note(Done(step=number, answers=answers))
    book.note(Ended())


def _refuse_another(script: Script, before: Transcript, path: Path) -> None:
    began = before.entries[0].event
    if before.ended:
        raise UserError(
            f"{path}: found the transcript of this ceremony, done on {before.entries[-1].at:%Y-%m-%d}; wanted none. "
            "Nothing was changed",
            "a ceremony is held once; for other keys write another script",
        )
    same = isinstance(began, Began) and began.script == script.text
    if why := next(before.broken(), "" if same else "found one that began with another script"):
        raise UserError(
            f"{path}: {why}; wanted the transcript of sha256:{script.digest}, whole. Nothing was changed",
            "bring the file back as it was, and go on with the script that stands in it",
        )


def _rehearsal(script: Script, path: Path) -> Transcript:
    """Raises UserError where this very script was not rehearsed to its end."""
    found = _read(path) if path.exists() else None
    told, faults = replay.told(found, path) if found else (None, ["none"])
    if not found or not told or faults or told.script.text != script.text:
        said = "; ".join(faults) or f"one of sha256:{told.script.digest if told else ''}"
        raise UserError(
            f"{path}: found no rehearsal of sha256:{script.digest} that went to its end: {said}; wanted one",
            f"`qhs hsm ceremony rehearse {script.source.name}`",
        )
    return found


def _approved(script: Script, approvers: Approvers) -> Approval:
    try:
        return approvers.require(ACTION, script.subject)
    except ApprovalError as error:
        raise UserError(str(error), "`qhs hsm ceremony plan` shows what they approve") from None


def _refuse_what_is_there(bench: Bench) -> None:
    if found := bench.found():
        raise UserError(
            f"found {'; '.join(found)}; wanted none, and no transcript says who made it. Nothing was changed",
            "take another label, or bring back the transcript of the ceremony that made it",
        )


def _read(path: Path) -> Transcript:
    try:
        return Transcript.read(path)
    except TranscriptError as error:
        raise UserError(str(error), "bring back the file as it was") from None
