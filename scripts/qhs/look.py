"""Whether machines are as the last run left them: what `qhs up` asks before it has Ansible do anything."""

from __future__ import annotations

from collections.abc import Mapping

from qhs.inventory import roles
from qhs.playbooks import PLAYBOOKS
from qhs.progress import Progress
from qhs.twin.asking import ask
from qhs.twin.names import Twin
from stacks.model import Estate

PROGRAM = PLAYBOOKS / "plugins" / "module_utils" / "qhs_tree.py"


def look(twin: Twin, estate: Estate, described: Mapping[str, str], progress: Progress) -> set[str]:
    """Those machines that differ in anything from what the last run of their roles left, or do not answer.

    `described`: by machine the digest of all that those roles were given.
    """
    progress(f"looking at {len(described)} machines")
    having = roles(estate)
    answers = ask(twin, PROGRAM.read_text(), {name: [digest, *having[name]] for name, digest in described.items()})
    found = {name: answer.missing or answer.said.strip() for name, answer in answers.items()}
    for name, what in found.items():
        for line in what.splitlines():
            progress(f"{name}: not as it was left: {line}")
    return {name for name, what in found.items() if what}
