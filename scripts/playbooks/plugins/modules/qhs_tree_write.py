"""Writes the files of a role: all of them or, where one does not pass its check, none."""

from __future__ import annotations

import shlex
import syslog
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.qhs_tree import DUE, Record, described, digest, idle, lapsed, states, write

DOCUMENTATION = """
module: qhs_tree_write
short_description: Writes the files of a role
description: Called by the action qhs_tree, which renders them. Each file is replaced whole or not at all.
options:
  role:
    description: The role that owns them.
    type: str
    required: true
  files:
    description: >-
      Each with path, content, owner, group, mode and, where one is wanted, check, a command with %s; secret, where no
      difference is to be shown.
    type: list
    elements: dict
  units:
    description: Those that are to be enabled, which is done here, and active with what their files say now.
    type: list
    elements: str
  holds:
    description: Commands whose states are to hold, each with what it says then, where its ending well is not enough.
    type: list
    elements: dict
  replaces:
    description: Roles of before, whose files and units are taken away.
    type: list
    elements: str
  described:
    description: The digest of what `qhs up` was told of the machine, for the record.
    type: str
    default: ""
  acted:
    description: Writes nothing, but takes note that what was written before is in effect.
    type: bool
"""

RETURN = """
written:
  description: The paths whose content, owner, group or mode changed; in check mode, those that a run would change.
  returned: always
  type: list
removed:
  description: The files and units of roles of before that were taken away; in check mode, those that a run would.
  returned: always
  type: list
outstanding:
  description: The paths that were written since somebody last acted, also by runs that were killed.
  returned: always
  type: list
idle:
  description: Units that are not enabled and active, or whose files say what systemd has not read.
  returned: always
  type: list
lapsed:
  description: Commands whose states do not hold.
  returned: always
  type: list
due:
  description: >-
    Whether something was written that nobody has acted on yet, a unit is idle or a state has lapsed. Never in check
    mode, where there is nothing to act on; then this counts as a change.
  returned: always
  type: bool
"""

type File = dict[str, str]


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        {
            "role": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "dict"},
            "units": {"type": "list", "elements": "str"},
            "holds": {"type": "list", "elements": "dict"},
            "replaces": {"type": "list", "elements": "str"},
            "described": {"type": "str", "default": ""},
            "acted": {"type": "bool"},
        },
        no_log=True,  # the content of files would go into the machine's journal
        required_one_of=[("files", "acted")],
        supports_check_mode=True,
    )
    due = DUE / module.params["role"]
    if module.params["acted"]:
        if not module.check_mode:
            due.unlink(missing_ok=True)
        module.exit_json(changed=False, written=[], removed=[], outstanding=[], idle=[], lapsed=[], due=False)
    files: list[File] = module.params["files"]
    before = {one["path"]: _content(one["path"]) for one in files}
    fresh = [one for one in files if digest(Path(one["path"])) != described(one)[0]]
    for one in fresh:
        _check(module, one)
    removed = [path for role in module.params["replaces"] or [] for path in _taken_away(module, role, files)]
    if fresh and not module.check_mode:
        DUE.mkdir(mode=0o700, exist_ok=True)
        with due.open("a") as note:
            note.writelines(f"{one['path']}\n" for one in fresh)
        for one in fresh:
            path = Path(one["path"])
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, one["content"])
    if due.exists() and not module.check_mode:
        _let(module, "systemd-sysusers", files, "/etc/sysusers.d/")  # an owner must exist before it is given a file
    other = [one for one in files if Path(one["path"]).exists() and _attributes(module, one)]
    if due.exists() and not module.check_mode:
        _let(module, "systemd-tmpfiles --create", files, "/etc/tmpfiles.d/")
    written = [one["path"] for one in files if one in fresh or one in other]
    if written and not module.check_mode:
        _note(module.params["role"], written)
    diff = [
        {"before_header": path, "after_header": path, "before": before[path], "after": one["content"]}
        for one in fresh
        if "secret" not in one
        for path in [one["path"]]
    ]
    units, holds = module.params["units"] or [], module.params["holds"] or []
    asleep = idle(units)
    if (due.exists() or asleep) and not module.check_mode:
        DUE.mkdir(mode=0o700, exist_ok=True)
        due.touch()  # also of a unit that, once settled, shows no more that nobody has restarted it
        _settle(module, files, units)
    if not module.check_mode:
        owned = {one["path"]: described(one) for one in files}
        Record(module.params["described"], owned, units, holds).keep(module.params["role"])
    ended = lapsed(holds)
    outstanding = due.read_text().split() if due.exists() else []
    to_act = bool(fresh or asleep or ended) or due.exists()
    module.exit_json(
        changed=bool(fresh or other or removed) or (module.check_mode and to_act),
        written=written,
        removed=removed,
        outstanding=outstanding,
        idle=asleep,
        lapsed=ended,
        due=to_act and not module.check_mode,
        diff=diff,
    )


def _settle(module: AnsibleModule, files: list[File], units: list[str]) -> None:
    """Enable the units, and have systemd read what it knows otherwise: of all units, which costs more than a start."""
    if off := [unit for unit, state in states(units).items() if "UnitFileState=enabled" not in state]:
        module.run_command(["systemctl", "enable", "--no-reload", *off], check_rc=True)
    known = states(sorted({*units, *_described_here(files)}))
    if any("NeedDaemonReload=yes" in state for state in known.values()):
        module.run_command(["systemctl", "daemon-reload"], check_rc=True)


def _taken_away(module: AnsibleModule, role: str, files: list[File]) -> list[str]:
    """What the last run of a role left, but for files of this one. Its record goes last, so that a next run ends what
    was killed.
    """
    record = Record.read(role)
    if record is None:
        return []
    own = {one["path"] for one in files}
    there = [path for path in record.files if path not in own and Path(path).exists()]
    if not module.check_mode:
        if known := [unit for unit, state in states(record.units).items() if "UnitFileState=" not in state]:
            module.run_command(["systemctl", "disable", "--now", *known], check_rc=True)
        for path in there:
            Path(path).unlink()
        if record.units:
            module.run_command(["systemctl", "daemon-reload"], check_rc=True)
        (DUE / role).unlink(missing_ok=True)
        Record.forget(role)
        _note(role, there, "is no more, and with it")
    return [*record.units, *there]


def _described_here(files: list[File]) -> set[str]:
    """Units that have a file or a drop-in here. A template is none: each of its instances is read when it starts."""
    below = [Path(one["path"]).parts[4] for one in files if one["path"].startswith("/etc/systemd/system/")]
    return {name.removesuffix(".d") for name in below if "@." not in name}


def _content(path: str) -> str:
    """For the difference alone."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _check(module: AnsibleModule, file: File) -> None:
    if "check" not in file:
        return
    with tempfile.NamedTemporaryFile("w", dir=module.tmpdir, suffix=Path(file["path"]).suffix) as trial:
        trial.write(file["content"])
        trial.flush()
        command = [word.replace("%s", trial.name) for word in shlex.split(file["check"])]
        code, said, complaint = module.run_command(command)
    if code:
        module.fail_json(f"{file['path']} was not written, nor any other file: {complaint or said}", written=[])


def _note(role: str, paths: list[str], did: str = "wrote") -> None:
    """In the machine's journal, where Ansible itself writes nothing of a module that hides what it is told."""
    syslog.openlog("ansible-qhs_tree_write", 0, syslog.LOG_AUTH)
    syslog.syslog(syslog.LOG_NOTICE, f"role {role} {did} {' '.join(paths)}")


def _let(module: AnsibleModule, program: str, files: list[File], folder: str) -> None:
    """Have the program that a boot starts act on the files of a folder now."""
    paths = [one["path"] for one in files if one["path"].startswith(folder)]
    if paths:
        module.run_command([*program.split(), *paths], check_rc=True)


def _attributes(module: AnsibleModule, file: File) -> bool:
    wanted = {name: file[name] for name in ("path", "owner", "group", "mode")}
    return bool(module.set_fs_attributes_if_different(module.load_file_common_arguments(wanted), changed=False))


if __name__ == "__main__":
    main()
