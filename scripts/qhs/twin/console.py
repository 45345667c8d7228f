"""The console of a machine: a shell in its namespaces, which needs no network. For an island it is the only way in."""

import os
from collections.abc import Sequence

from qhs.errors import UserError
from qhs.twin import boot
from qhs.twin.names import Twin

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "TERM": os.environ.get("TERM", "dumb"),
    "LANG": "C.UTF-8",
}
"""All that a console is told of whoever opens it: nothing of an operator's environment goes in."""


def command(twin: Twin, machine: str, argv: Sequence[str]) -> list[str]:
    """`argv`, or a login shell, as a command line that runs it on a machine. Raises UserError if that is off.

    It has no more rights than the machine's own processes: the host's clock is out of its reach too.
    """
    init = boot.group(twin, machine).init()
    if init is None:
        raise UserError(f"the machine {machine} of twin {twin.name} is off, or there is none", "qhs twin status")
    enter = ["nsenter", f"--target={init}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]
    lost = ",".join(f"-{right.removeprefix('CAP_').lower()}" for right in boot.LOST_RIGHTS)
    return ["setpriv", f"--bounding-set={lost}", *enter, "--", *(argv or ["bash", "--login"])]
