"""Writes the files of a role: all of them or, where one does not pass its check, none."""

from __future__ import annotations

import os
import shlex
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

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
    description: Each with path, content, owner, group, mode and, where one is wanted, check, a command with %s.
    type: list
    elements: dict
  units:
    description: Those that are to be enabled and active, as their files say now.
    type: list
    elements: str
  acted:
    description: Writes nothing, but takes note that what was written before is in effect.
    type: bool
"""

RETURN = """
written:
  description: The paths whose content changed.
  returned: always
  type: list
due:
  description: Whether something was written that nobody has acted on yet, or a unit does not run as it should.
  returned: always
  type: bool
"""

type File = dict[str, str]

# A boot acts on every file, so the note need not outlive one.
DUE = Path("/run/qhs-roles")


def main() -> None:
    """Entry point of the module."""
    module = AnsibleModule(
        {
            "role": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "dict"},
            "units": {"type": "list", "elements": "str"},
            "acted": {"type": "bool"},
        },
        required_one_of=[("files", "acted")],
        supports_check_mode=True,
    )
    due = DUE / module.params["role"]
    if module.params["acted"]:
        if not module.check_mode:
            due.unlink(missing_ok=True)
        module.exit_json(changed=False, written=[], due=False)
    files: list[File] = module.params["files"]
    before = {one["path"]: _content(one["path"]) for one in files}
    fresh = [one for one in files if before[one["path"]] != one["content"]]
    for one in fresh:
        _check(module, one)
    if fresh and not module.check_mode:
        DUE.mkdir(mode=0o700, exist_ok=True)
        due.touch()
        for one in fresh:
            _write(one)
    if due.exists() and not module.check_mode:
        _let(module, "systemd-sysusers", files, "/etc/sysusers.d/")  # an owner must exist before it is given a file
    changed = [_attributes(module, one) for one in files if Path(one["path"]).exists()]
    if due.exists() and not module.check_mode:
        _let(module, "systemd-tmpfiles --create", files, "/etc/tmpfiles.d/")
    diff = [
        {"before_header": path, "after_header": path, "before": before[path] or "", "after": one["content"]}
        for one in fresh
        for path in [one["path"]]
    ]
    module.exit_json(
        changed=bool(fresh) or any(changed),
        written=[one["path"] for one in fresh],
        due=bool(fresh) or due.exists() or not _run(module, module.params["units"] or []),
        diff=diff,
    )


def _run(module: AnsibleModule, units: list[str]) -> bool:
    """Whether every unit is enabled and active, with what its files say."""
    if not units:
        return True
    shown = ["systemctl", "show", "--property=ActiveState,UnitFileState,NeedDaemonReload", *units]
    _, said, _ = module.run_command(shown, check_rc=True)
    wanted = {"ActiveState=active", "UnitFileState=enabled", "NeedDaemonReload=no"}
    return all(set(unit.split("\n")) == wanted for unit in said.strip().split("\n\n"))


def _content(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except FileNotFoundError:
        return None


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


def _write(file: File) -> None:
    """The whole file or the old one; nobody reads it before its mode is right."""
    path = Path(file["path"])
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as stream:
        stream.write(file["content"])
        stream.flush()
        os.fsync(stream.fileno())
    Path(fresh).replace(path)


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
