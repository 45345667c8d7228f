#!/usr/bin/python3 -B
"""Which programs the parts of this control plane run: those of the image, or of a version that was put beside them.

    used                  print, as JSON, the version of each part that is not to run the image's program
    digests VERSION       print, as JSON, the SHA-256 of each program of a version that was put there
    put VERSION           have the programs on standard input (a tar archive), in place of what was there
    use VERSION PART      have a part run that version from its next start on; with `image`, the image's
    lacks PART VERSION    say why a part does not serve as this version; or nothing

What fails is a line on standard error, with exit code 1. A unit of a part mounts the chosen program over the image's
for its own process alone, so its command line, and whoever looks at it, knows one path.
"""

import hashlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import tarfile
from pathlib import Path

FOLDER = Path("/usr/local/lib/qhs-control-plane/programs")
IMAGE = "image"
PARTS = {"kube-apiserver": 6443, "kube-controller-manager": 10257, "kube-scheduler": 10259}
"""And the port at which each says how it is."""
CLIENT = "/var/lib/qhs-kubernetes/kube-scheduler.pem"
"""Any certificate of the cluster will do: whoever has one may ask the API how it is."""
PATIENCE = 5
"""Seconds for an answer."""


class UnfitError(Exception):
    """What cannot be had, and why."""


def used() -> dict[str, str]:
    """By part."""
    links = {part: FOLDER / part for part in PARTS}
    return {part: link.readlink().parent.name for part, link in links.items() if link.is_symlink()}


def digests(version: str) -> dict[str, str]:
    """By program; none where the version was not put there."""
    return {one.name: _digest(one) for one in sorted((FOLDER / version).glob("*"))}


def put(version: str) -> None:
    """Whole or not at all. Raises UnfitError where the archive has other files than the parts' programs."""
    new = FOLDER / f"{version}.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|") as archive:
        archive.extractall(new, filter="data")
    if found := {one.name for one in new.iterdir()} ^ PARTS.keys():
        raise UnfitError(f"{version}: found other programs than {', '.join(PARTS)}: {', '.join(sorted(found))}")
    for one in new.iterdir():
        os.chown(one, 0, 0)
        one.chmod(0o755)
    shutil.rmtree(FOLDER / version, ignore_errors=True)
    new.rename(FOLDER / version)


def use(version: str, part: str) -> None:
    """Raises UnfitError where that version was not put there."""
    link, new = FOLDER / part, FOLDER / f"{part}.new"
    if version == IMAGE:
        link.unlink(missing_ok=True)
        return
    if not (FOLDER / version / part).is_file():
        raise UnfitError(f"{part}: found no program in {FOLDER / version}; wanted one that was put there")
    new.unlink(missing_ok=True)
    new.symlink_to(f"{version}/{part}")
    new.replace(link)


def lacks(part: str, version: str) -> str:
    """Why it does not serve as this version; empty: it does."""
    pid = _said("systemctl", "show", "--property=MainPID", "--value", f"qhs-{part}.service")
    if pid in ("", "0"):
        return f"{part} does not run"
    found = _said(f"/proc/{pid}/exe", "--version").removeprefix("Kubernetes v")
    if found != version:
        return f"{part} runs as {found or 'nothing known'}; wanted {version}"
    return _unwell(part)


def _unwell(part: str) -> str:
    """What it says of itself, unless that is that it is well."""
    context = ssl.create_default_context(cafile="/etc/qhs/tls/ca.crt")
    context.check_hostname = False
    if part == "kube-apiserver":
        context.load_cert_chain(CLIENT)
    else:  # it has a certificate of its own making, and listens on this machine alone
        context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", PARTS[part], context=context, timeout=PATIENCE)
    try:
        connection.request("GET", "/readyz" if part == "kube-apiserver" else "/healthz")
        answer = connection.getresponse()
        said = answer.read().decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return f"{part} does not answer: {error}"
    finally:
        connection.close()
    return "" if answer.status == http.HTTPStatus.OK else f"{part} says {answer.status}: {said.splitlines()[0]}"


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _said(*words: str) -> str:
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:  # the process has just ended
        return ""


def main() -> int:
    """Runs one verb. Returns the exit code."""
    os.umask(0o022)
    try:
        match sys.argv[1:]:
            case ["used"]:
                print(json.dumps(used()))
            case ["digests", version]:
                print(json.dumps(digests(version)))
            case ["put", version]:
                put(version)
            case ["use", version, part]:
                use(version, part)
            case ["lacks", part, version]:
                print(lacks(part, version))
            case _:
                sys.exit(__doc__)
    except (UnfitError, tarfile.TarError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
