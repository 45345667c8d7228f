"""Control groups of machines, tried on plain folders; on the kernel's own in tests/twin."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qhs.twin import cgroup


def test_machines_that_end_at_one_moment_take_their_common_group_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "points", lambda: [tmp_path])
    machines = [cgroup.Group("qhs-test", f"m{number}") for number in range(8)]
    with ThreadPoolExecutor(len(machines)) as threads:
        for _ in range(100):
            for machine in machines:
                (tmp_path / machine.parent / machine.name / "main").mkdir(parents=True)
            list(threads.map(cgroup.Group.remove, machines))
            assert not (tmp_path / "qhs-test").exists()
