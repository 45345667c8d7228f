"""The one kind of error that a user is meant to read, and what becomes one."""

from __future__ import annotations

import errno
import os
import shlex
from subprocess import CalledProcessError


class UserError(Exception):
    """Something is wrong that the user can put right: what is wrong and where, then the way out."""

    def __init__(self, what: str, way_out: str) -> None:
        super().__init__(f"{what}\n  way out: {way_out}")
        self.what = what
        self.way_out = way_out


_FULL = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


def explained(error: OSError | CalledProcessError) -> UserError:
    """What the system refused us or a program of ours that failed, as a message with a way out."""
    if isinstance(error, CalledProcessError):
        command = error.cmd if isinstance(error.cmd, str) else shlex.join(map(str, error.cmd))
        said = (error.stderr or error.stdout or "nothing").strip()
        what = f"`{command.splitlines()[0]}` ended with {error.returncode}; it said: {said}"
        return UserError(what, "put right what it names, then run the same command again")
    where = " -> ".join(str(name) for name in (error.filename, error.filename2) if name)
    what = f"{where or 'the system'}: {error.strerror or error}"
    if error.errno in _FULL:
        return UserError(what, "make room there, or set XDG_STATE_HOME or XDG_CACHE_HOME to a larger disk")
    if error.errno in _DENIED:
        who = "run the same command as root" if os.geteuid() else "see what forbids it to root: a read-only mount?"
        return UserError(what, who)
    if isinstance(error, FileNotFoundError) and error.filename and os.sep not in str(error.filename):
        return UserError(f"the program {error.filename} is not installed", "`scripts/host.sh` as root installs it")
    return UserError(what, "put that right, then run the same command again")
