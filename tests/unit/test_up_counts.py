"""What `qhs up` reports comes from what Ansible and the engine said, and silence is no zero."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qhs.ansible import played, refusals
from qhs.errors import UserError
from qhs.folders import CLONE
from qhs.up import counted
from stacks.model import Estate

LOG = Path("ansible-site-qhdc.log")


def recap(*hosts: str) -> str:
    lines = [f"{host:<26} : ok=9    changed=2    unreachable=0    failed=0    skipped=1" for host in hosts]
    return "\n".join(["PLAY RECAP *****", *lines, ""])


def test_a_recap_of_every_machine_is_counted(estate: Estate) -> None:
    assert played(recap(*estate.machines), set(estate.machines), LOG) == dict.fromkeys(estate.machines, 2)


def test_a_machine_that_ansible_passed_over_is_an_error(estate: Estate) -> None:
    _, *others = estate.machines
    for said in ("", recap(*others), recap(*estate.machines, "localhost")):
        with pytest.raises(UserError, match=r"recap .*: found .*; wanted "):
            played(said, set(estate.machines), LOG)


def test_what_machines_refused_is_told_with_the_task_and_nothing_else_is() -> None:
    fatal = 'fatal: [hall-infra1]: UNREACHABLE! => {"msg": "timed out"}'
    said = "\n".join(
        (
            "TASK [pki : First] ***",
            "changed: [hall-fw1]",
            "TASK [pki : Second] ***",
            fatal,
            "failed: [hall-fw1] (item=a) => {}",
            recap("hall-fw1"),
            "[DEPRECATION WARNING]: a feature",
        )
    )
    assert refusals(said) == ["TASK [pki : Second]", fatal, "failed: [hall-fw1] (item=a) => {}"]
    assert refusals(recap("hall-fw1")) == []


def test_an_inventory_that_does_not_parse_fails_the_run(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.py"
    inventory.write_text("#!/bin/sh\nexit 1\n")
    inventory.chmod(0o755)
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [program, "-i", inventory, CLONE / "scripts" / "playbooks" / "site.yml"],
        env={**os.environ, "ANSIBLE_CONFIG": str(CLONE / "ansible.cfg")},
        cwd=CLONE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0, done.stdout
    assert "inventory" in done.stderr


def test_the_engines_closing_lines_are_counted() -> None:
    lines = (
        "Resources:",
        "    + 3 created",
        "    ~ 1 updated",
        "    - 2 deleted",
        "    +-1 replaced",
        "    30 unchanged",
    )
    said = "\n".join([*lines, "", "Duration: 4s"])
    assert counted(said, "twin.qhdc.network") == (7, 35)


def test_an_engine_that_names_no_count_is_an_error() -> None:
    with pytest.raises(UserError, match=r"pulumi up of twin\.qhdc\.network: found 'Duration: 4s' at its end"):
        counted("Updating\n\nDuration: 4s\n", "twin.qhdc.network")
