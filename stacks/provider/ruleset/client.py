"""A plain client of `qhs-ruleset`, over OpenSSH. Knows nothing of Pulumi."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacks.provider.ruleset.listing import parse
from stacks.provider.ruleset.nft import Table

TIMEOUT = 30
"""Seconds for one call; the machine itself undoes what is not confirmed within 30 s."""
UNDONE, AGAIN = 40, 1
"""Seconds after which nothing can wait for a confirmation any more, and between two questions whether it does."""
UNREACHABLE = 255  # ssh's own exit code
# Each call on a connection of its own: a confirmation must prove that new connections still get through.
OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=5", "-o", "ControlPath=none", "-o", "LogLevel=ERROR")


class RulesetError(Exception):
    """A machine did not do what it was asked: which, what it said, the way out."""


class PendingError(RulesetError):
    """Another ruleset waits there for its confirmation: of an engine that died, or of another one at work."""


class UnreachableError(RulesetError):
    """A machine did not even answer."""


@dataclass(frozen=True)
class Reading:
    """What one machine enforces."""

    table: Table
    confirmed: str | None
    """SHA-256 of the ruleset that its next boot loads."""
    resource: str | None
    """Key and URN of the resource that wrote that ruleset."""


def digest(text: str) -> str:
    """The name that `qhs-ruleset` knows a ruleset by."""
    return hashlib.sha256(text.encode()).hexdigest()


class Client:
    """The machines of an environment by their names in an OpenSSH configuration."""

    def __init__(self, config: Path) -> None:
        self._config = config

    def machines(self) -> list[str]:
        """The machines that there are. Raises RulesetError where the configuration names none: it is no such file."""
        found = list(dict.fromkeys(_named(self._config)))
        if not found:
            raise RulesetError(f"{self._config}: found no machine, wanted a line `Host NAME` for each")
        return found

    def read(self, machine: str) -> Reading:
        """What a machine enforces now, and after a boot. Raises RulesetError."""
        answer = self._ask(machine, "read")
        return Reading(parse(answer["nft"] or {"nftables": []}), answer["confirmed"], answer["resource"])

    def list(self, machines: Sequence[str]) -> dict[str, Reading]:
        """What several machines enforce. Raises one RulesetError that names every machine that did not answer."""
        return self._all(machines, self.read)

    def answering(self, machines: Sequence[str]) -> dict[str, Reading]:
        """What those of several machines enforce that answer. Raises RulesetError where none does, or one refuses."""
        done, faults = self._each(machines, self.read)
        if not done or not all(isinstance(fault, UnreachableError) for fault in faults):
            raise _together(faults)
        return done

    def write(self, machines: Sequence[str], text: str) -> None:
        """Have all these machines enforce the text, or none: each checks, then each applies, then each confirms.

        Raises RulesetError. What was applied and not confirmed is undone by the machine itself within 30 s; where that
        is still to come from an earlier run, this one waits for it.
        """
        name = digest(text)
        self._all(machines, lambda machine: self._check(machine, text))
        self._all(machines, lambda machine: self._ask(machine, f"apply {name}", text))
        try:
            self._all(machines, lambda machine: self._ask(machine, f"confirm {name}"))
        except RulesetError as error:
            raise RulesetError(
                f"{error}\nIt was applied, but not confirmed by all: who did not confirm goes back by itself. "
                "Run `up` again, which writes it to all"
            ) from error

    def _check(self, machine: str, text: str) -> None:
        """Once nothing waits for a confirmation there."""
        end = time.monotonic() + UNDONE
        while True:
            try:
                self._ask(machine, f"check {digest(text)}", text)
            except PendingError:
                if time.monotonic() > end:
                    raise
                time.sleep(AGAIN)
            else:
                return

    def _all[T](self, machines: Sequence[str], do: Callable[[str], T]) -> dict[str, T]:
        done, faults = self._each(machines, do)
        if faults:
            raise _together(faults)
        return done

    def _each[T](self, machines: Sequence[str], do: Callable[[str], T]) -> tuple[dict[str, T], Sequence[BaseException]]:
        with ThreadPoolExecutor(max(1, len(machines))) as pool:
            waiting = {machine: pool.submit(do, machine) for machine in machines}
        faults = {machine: fault for machine, one in waiting.items() if (fault := one.exception())}
        return {name: one.result() for name, one in waiting.items() if name not in faults}, [*faults.values()]

    def _ask(self, machine: str, words: str, text: str = "") -> dict[str, Any]:
        command = ["ssh", "-F", str(self._config), *OPTIONS, "--", machine, words]
        try:
            done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            raise UnreachableError(self._silent(machine, words, f"no answer within {TIMEOUT} s")) from None
        if done.returncode == UNREACHABLE:
            raise UnreachableError(self._silent(machine, words, _last(done.stderr.splitlines())))
        try:
            answer: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            found = _last((done.stdout + done.stderr).splitlines())
            raise RulesetError(
                f"{machine}: found {found!r} for `{words.partition(' ')[0]}`, wanted the JSON of qhs-ruleset. "
                "Way out: run the playbook that installs the role `ruleset`"
            ) from None
        if "error" in answer:
            kind = PendingError if answer["error"]["code"] == "pending" else RulesetError
            raise kind(f"{machine}: {answer['error']['message']} ({answer['error']['code']})")
        return answer

    def _silent(self, machine: str, words: str, why: str) -> str:
        tried = f"ssh -F {self._config} {machine} {words.partition(' ')[0]}"
        return (
            f"{machine} cannot be reached: {why}. Tried: {tried}. Way out: power it on, or see that this file names it"
        )


def _together(faults: Iterable[BaseException]) -> RulesetError:
    return RulesetError("\n".join(str(fault) for fault in faults))


def _named(config: Path) -> Iterator[str]:
    """The names in an OpenSSH configuration, its includes and no patterns."""
    for line in config.read_text().splitlines():
        keyword, *words = line.split() or [""]
        if keyword.lower() == "host":
            yield from (word for word in words if not set(word) & set("*?!"))
        elif keyword.lower() == "include":
            for word in words:
                for path in Path("/").glob(str(Path.home() / ".ssh" / word).lstrip("/")):
                    yield from _named(path)


def _last(lines: Iterable[str]) -> str:
    said = [line.strip() for line in lines if line.strip()]
    return said[-1] if said else "nothing"
