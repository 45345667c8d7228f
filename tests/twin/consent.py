"""Two people who approve, as a refusal tells them to."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from tests import ceremonies
from tests.twin.conftest import Run

APPROVERS = ("chu-nhiem", "pho-chu-nhiem")
WAY_OUT = re.compile(r"`qhs (approve new (?:change|delete) '[^']+')`")


class Consent:
    """Theirs, by keys of their own that the suite's twin knows from now on."""

    def __init__(self, qhs: Run, folder: Path) -> None:
        self._qhs = qhs
        self._keys = {name: key for name, key in ceremonies.keys(folder).items() if name in APPROVERS}
        for name, key in self._keys.items():
            assert qhs("approve", "approver", name, "--key", f"{key}.pub").returncode == 0

    def to(self, said: str) -> int:
        """To all that is refused in what was said; to how much that is."""
        found = set(WAY_OUT.findall(said))
        for one in found:
            file = self._qhs(*shlex.split(one), "--reason", "thử").stdout.strip()
            for name, key in self._keys.items():
                assert self._qhs("approve", "sign", file, "--as", name, "--key", str(key)).returncode == 0
        return len(found)
