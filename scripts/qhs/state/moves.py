"""Moving and copying the states of stacks between the state folder and the object stores of the sites."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import yaml

from qhs import whole
from qhs.engine import Engine, EngineError, forget, make_stack, run_pulumi
from qhs.errors import UserError
from qhs.progress import Progress
from qhs.state import homes
from qhs.twin.names import Twin
from stacks.layers import stack_names
from stacks.model import Estate
from stacks.model.objects import COPIES, STATE_KEY, others

ENCRYPTED = f"hashivault://{STATE_KEY}"
"""By whichever secret store the engine is let into."""
AT_ONCE = 4
REFERENCE = "pulumi:pulumi:StackReference"
"""What an update has read of the state of another stack; the next one reads it anew."""


def adopt(engine: Engine, twin: Twin, estate: Estate, progress: Progress, at: str | None = None) -> list[str]:
    """Have every state where it belongs, or all at site `at` as the copies there have them; the stacks that moved.

    A state counts where it came once it was read back there and is the same. Raises UserError; what has moved by then
    stays so, and the next run goes on.
    """
    known = homes.read(twin)
    wanted = {str(stack): at or homes.own(estate, str(stack)) for stack in stack_names(estate)}
    moving = {stack: site for stack, site in wanted.items() if known.get(stack) != site}
    was, target = homes.at(engine, twin, known), homes.at(engine, twin, moving)
    source = homes.at(engine, twin, dict.fromkeys(moving, at), COPIES) if at else was

    def moved(stack: str) -> None:
        state = exported(source, stack)
        _bring(state, target, stack)
        if resources(exported(target, stack)) != resources(state):
            raise UserError(
                f"{stack}: found another state at {moving[stack]} than was written there; wanted the same",
                "`qhs state adopt` again: the state is still where it was, and counts there",
            )

    for stack, _ in _side_by_side(moving, moved):
        _configure_alike(was.settings(stack), target.settings(stack))
        known[stack] = moving[stack]
        homes.changing(twin, stack)
        homes.write(twin, known)
        progress(f"state: {stack} is at {known[stack]}")
    for stack in known:
        forget(engine, stack)  # or it might be taken for the one that counts
        if at:
            homes.changing(twin, stack)  # where another site is lost, so are the copies that it had
    return list(moving)


def copy(engine: Engine, twin: Twin, estate: Estate, stacks: Iterable[str], progress: Progress) -> list[str]:
    """Copy these states to every other site with a store, encrypted by that one's key; which copies there are not now.

    Raises UserError where a state itself cannot be read.
    """
    known = homes.read(twin)
    source = homes.at(engine, twin, known)

    def copied(stack: str) -> list[str]:
        state, lacking = exported(source, stack), []
        for site in others(estate, known[stack]):
            try:
                _bring(state, homes.at(engine, twin, {stack: site}, COPIES), stack)
                progress(f"state: {stack} is copied to {site}")
            except UserError as error:
                lacking.append(f"no copy of the state of {stack} at {site}: {error}")
        return lacking

    found = []
    for stack, lacking in _side_by_side([stack for stack in stacks if stack in known], copied):
        found += lacking
        if not lacking:
            homes.copied(twin, stack)
    return found


def exported(engine: Engine, stack: str) -> str:
    """A state with its secrets, which are in memory alone. Raises UserError."""
    try:
        return run_pulumi(engine, ["stack", "export", "--show-secrets"], stack=stack)
    except EngineError as error:
        raise UserError(
            f"{stack}: found no state that can be read: {error}; wanted it where it was last",
            "`qhs state status` says where states and copies are; `qhs state adopt --at SITE` goes on from the copies",
        ) from None


def resources(state: str) -> list[str]:
    """What a state says of the estate: in one order, nothing of who wrote it or when, nor what others handed to it."""
    found = [one for one in json.loads(state)["deployment"].get("resources", []) if one["type"] != REFERENCE]
    return sorted(json.dumps({**one, "created": None, "modified": None}, sort_keys=True) for one in found)


def _bring(state: str, target: Engine, stack: str) -> None:
    """Have a state elsewhere, too. Raises UserError."""
    settings = target.settings(stack).parent
    try:
        if not _there(target, stack):
            _make(target, stack)
        given = encrypted_by(state, target.settings(stack))
        run_pulumi(target, ["stack", "import"], stack=stack, cwd=settings, given=given)
    except EngineError as error:
        raise UserError(
            f"{stack}: its state cannot be written: {error}",
            "put right what it names, then the same command again; the state is where it was",
        ) from None


def encrypted_by(state: str, settings: Path) -> str:
    """A state as the engine takes it for the stack of these settings: a state itself says what encrypts its secrets."""
    own, taken = yaml.safe_load(settings.read_text()), json.loads(state)
    key = {"url": own["secretsprovider"], "encryptedkey": own["encryptedkey"]}
    taken["deployment"]["secrets_providers"] = {"type": "cloud", "state": key}
    return json.dumps(taken)


def _configure_alike(was: Path, now: Path) -> None:
    """The plain values of a stack go with it; what encrypts does not."""
    old, new = (yaml.safe_load(one.read_text()) or {} for one in (was, now))
    whole.write(now, yaml.safe_dump({**new, "config": old.get("config", {})}))


def _make(engine: Engine, stack: str) -> None:
    """Anew where there is one whose settings are lost: it is of no use to anybody."""
    made = ("--secrets-provider", ENCRYPTED)
    try:
        make_stack(engine, stack, *made)
    except EngineError as error:
        if "already exists" not in error.output:
            raise
        run_pulumi(engine, ["stack", "rm", "--force", "--yes", "--preserve-config"], stack=stack)
        make_stack(engine, stack, *made)


def _there(engine: Engine, stack: str) -> bool:
    """Whether a state can be written over: it is there, and so is what its secrets are encrypted with."""
    if not engine.settings(stack).exists():
        return False
    try:
        run_pulumi(engine, ["stack", "export"], stack=stack)
    except EngineError:
        return False
    return True


def _side_by_side[T](stacks: Iterable[str], act: Callable[[str], T]) -> Iterator[tuple[str, T]]:
    """Each as it is done."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = {pool.submit(act, stack): stack for stack in stacks}
        for done in as_completed(running):
            yield running[done], done.result()
