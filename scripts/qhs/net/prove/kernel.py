"""What the kernel makes of a ruleset: nft loads it into an empty network namespace and lists it as JSON."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from qhs.errors import UserError

WORKERS = 2
REFUSED = 3
# One namespace does them in turn; each file begins by flushing what the one before left.
SCRIPT = """
for file in "$@"; do
  nft -f "$file" 2>"$file.err" && nft -j list ruleset >"$file.json" 2>"$file.err" || { echo "$file"; exit 3; }
done
"""
FLUSH = "flush ruleset; "


class KernelError(UserError):
    """A ruleset could not be loaded, or there is no namespace to load it in."""


def namespace() -> list[str]:
    """The command that runs another one in an empty network namespace of its own."""
    return ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "-Urn"]


def missing() -> str | None:
    """Why rulesets cannot be loaded here; None: they can."""
    for program in ("nft", "unshare"):
        if shutil.which(program) is None:
            return f"{program} is not installed (packages nftables, util-linux)"
    tried = _run([*namespace(), "nft", "list", "ruleset"])
    return None if tried.returncode == 0 else f"no network namespace of our own: {tried.stderr.strip()}"


def listings(texts: Mapping[str, str]) -> dict[str, Any]:
    """`nft -j list ruleset` of every text, by its name. Equal texts share one object. Raises KernelError."""
    if reason := missing():
        raise KernelError(f"cannot load rulesets: {reason}", "run as root, or where user namespaces are allowed")
    distinct = sorted(set(texts.values()))
    with TemporaryDirectory(prefix="qhs-prove-") as folder:
        files = [Path(folder) / f"{number}.nft" for number in range(len(distinct))]
        for file, text in zip(files, distinct, strict=True):
            file.write_text(FLUSH + text, encoding="utf-8")
        names = {file: next(name for name, text in texts.items() if text == one)
                 for file, one in zip(files, distinct, strict=True)}  # fmt: skip
        with ThreadPoolExecutor(WORKERS) as pool:
            for done in pool.map(_load, [files[part::WORKERS] for part in range(WORKERS)]):
                if done is not None:
                    error = done.with_name(f"{done.name}.err").read_text(encoding="utf-8").strip()
                    error = error.replace(f"{done}:", "line ")
                    raise KernelError(
                        f"{names[done]}: nft refuses the ruleset: {error}", "mend the rule that nft names"
                    )
        read = {text: json.loads(file.with_name(f"{file.name}.json").read_bytes())
                for text, file in zip(distinct, files, strict=True)}  # fmt: skip
    return {name: read[text] for name, text in texts.items()}


def _load(files: list[Path]) -> Path | None:
    """Loads and lists files one after another; the first that nft refuses is given back."""
    if not files:
        return None
    done = _run([*namespace(), "sh", "-c", SCRIPT, "qhs-prove", *map(str, files)])
    if done.returncode == 0:
        return None
    if done.returncode == REFUSED:
        return Path(done.stdout.strip())
    raise KernelError(f"the namespace ended with code {done.returncode}: {done.stderr.strip()}", "try again")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TZ": "UTC", "LC_ALL": "C"}  # nft shows times in the zone of who runs it
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
