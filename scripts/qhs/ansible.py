"""Ansible on an estate, run inside the twin's namespace over the operator's own SSH configuration."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from qhs import mirror_access, names_access, pki, ruleset_access
from qhs.child import mortal
from qhs.errors import UserError
from qhs.folders import CLONE
from qhs.pki.files import SIGNERS_BELIEVE
from qhs.progress import Progress
from qhs.twin import access, inside
from qhs.twin.names import Twin
from qhs.twin.standing import Standing
from stacks.model import Estate

# Ansible's closing recap, a line a host.
_RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)

LONGEST = 1000
"""Characters of what one machine said that are told; the log has all."""
# How many members of a firewall pair are changed at a time: one, but where neither serves anybody yet.
IN_TURN, TOGETHER = {"QHS_PAIR_AT_ONCE": "1"}, {"QHS_PAIR_AT_ONCE": "100%"}


def play(
    twin: Twin,
    estate: Estate,
    playbook: str,
    machines: set[str],
    progress: Progress,
    *,
    described: Mapping[str, str] | None = None,
    booted: Set[str] = frozenset(),
    together: bool = False,
) -> dict[str, int]:
    """Run a playbook of scripts/playbooks on some machines; how many tasks changed something, by machine.

    A run a site, side by side: no site needs another, and one run keeps only one processor busy. `together`: one run
    for all, of what sites agree on. `described`: by machine the digest of all that the roles are given, by which a
    later look knows what they left. `booted`: machines that were off before, so that of a firewall pair among them
    neither member serves anybody yet.
    Raises UserError with what machines refused, or where it passed over a machine; the log keeps all.
    """
    if not machines:
        return {}
    sites = [{one for one in machines if estate.machines[one].site == site} for site in estate.active_sites]
    runs = [machines] if together else [one for one in sites if one]
    progress(f"ansible: {playbook} on {len(machines)} machines, {'one run' if together else 'a run a site'}")
    # It makes keys at first use, so it is asked once.
    environ = variables(twin) | {"QHS_DESCRIBED": json.dumps(dict(described or {}))}
    with ThreadPoolExecutor(len(runs)) as pool:
        done = pool.map(
            lambda those: _play(twin, estate, playbook, those, environ | (TOGETHER if those <= booted else {})), runs
        )
        return {machine: number for run in done for machine, number in run.items()}


def _play(twin: Twin, estate: Estate, playbook: str, machines: set[str], environ: dict[str, str]) -> dict[str, int]:
    log = twin.state / "log" / f"ansible-{Path(playbook).stem}-{estate.machines[min(machines)].site}.log"
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    argv = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-i",
        str(CLONE / "inventories" / estate.inventory.environment / "hosts.py"),
        str(CLONE / "scripts" / "playbooks" / playbook),
        "--limit",
        ",".join(sorted(machines)),
    ]
    # Killed without a word, it would leave workers that finish what they are at.
    done = subprocess.run(
        mortal(inside.command(twin, argv), signal.SIGTERM),
        env=environ,
        cwd=CLONE,
        capture_output=True,
        text=True,
        check=False,
    )
    log.write_text(done.stdout + done.stderr)
    if done.returncode != 0:
        why = refusals(done.stdout) or (done.stdout + done.stderr).strip().splitlines()[-25:]
        told = "\n".join(why)
        raise UserError(f"the playbook {playbook} failed ({log}):\n{told}", "put right what it names, then `qhs up`")
    return played(done.stdout, machines, log)


def refusals(said: str) -> list[str]:
    """Of what Ansible printed, where machines refused something: the task, and what each said."""
    found, task = [], ""
    for line in said.splitlines():
        if line.startswith("TASK ["):
            task = line.rstrip(" *")
        elif line.startswith(("fatal: [", "failed: [")):
            found += [*([task] if task not in found else []), line[:LONGEST]]
    return found


def played(said: str, machines: set[str], log: Path) -> dict[str, int]:
    """What Ansible's recap says. Raises UserError unless it names every one of the machines and no other."""
    changed = {host: int(number) for host, _, number, _, _ in _RECAP.findall(said)}
    if changed.keys() != machines:
        found = ", ".join(sorted(changed)) or "none"
        raise UserError(
            f"Ansible's recap ({log}): found {found}; wanted {', '.join(sorted(machines))}",
            f"see what {log} says of the others, then `qhs up`",
        )
    return changed


def variables(twin: Twin) -> dict[str, str]:
    """The environment of every Ansible run on this twin."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(CLONE / "ansible.cfg"),
        "ANSIBLE_STRATEGY": "qhs_linear",
        "ANSIBLE_SSH_ARGS": f"-F {access.config(twin)}",
        "ANSIBLE_REMOTE_USER": "qhs",
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        **IN_TURN,
        "QHS_RULESET_KEY": ruleset_access.public_key(twin),
        "QHS_PKI": str(pki.ensure(twin)),
        "QHS_PACKAGES": str(mirror_access.folder(twin, Standing.load(twin).image)),
        "QHS_NAMES_KEY_FILE": str(names_access.key_file(twin)),
    }


def beside(environ: Mapping[str, str]) -> dict[str, list[str]]:
    """What playbooks look up in an environment of `variables`, by the group of the inventory that they give it to.

    But for `hosts/` of the authority: that is what machines answered in this very run.
    """
    own, packages = Path(environ["QHS_PKI"]), Path(environ["QHS_PACKAGES"])
    files = {
        "all": [own / "root.crt", own / "users.pub", own / "revoked", packages / "key.asc"],
        "role_secrets": [own / "provisioners.crt"],
        "role_database": [own / "provisioners.crt"],
        "role_hsm": [
            own / "root.crt",
            *(file(own) for one in SIGNERS_BELIEVE for file in (one.certificate, one.revoked)),
        ],
        "role_bastion": [own / "people.json"],
        "service_packages": [packages / "Packages", packages / "InRelease"],
        "service_names_primary": [Path(environ["QHS_NAMES_KEY_FILE"])],
    }
    found = {group: [one.read_text() for one in paths] for group, paths in files.items()}
    found["all"].append(environ["QHS_RULESET_KEY"])
    return found
