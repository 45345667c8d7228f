"""Machines of their own for `qhs-ruleset`: a network and a mount namespace with an empty /etc/qhs and /run."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).parents[2] / "roles/ruleset/files/qhs_ruleset.py"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Place:
    """Namespaces in which the program is root of a machine that nobody else sees."""

    def __init__(self, folder: Path, seconds: int) -> None:
        self.etc, self.run = folder / "etc", folder / "run"
        self.etc.mkdir()
        self.run.mkdir()
        program = folder / "qhs-ruleset"
        program.write_text(PROGRAM.read_text().replace("ROLLBACK, BUSY = 30", f"ROLLBACK, BUSY = {seconds}"))
        self.program = program
        layers = f"lowerdir=/etc,upperdir={folder}/u,workdir={folder}/w"
        steps = [
            "mount -t tmpfs none /run",
            f"mkdir -p /run/qhs-ruleset {folder}/u {folder}/w",
            f"mount --bind {self.run} /run/qhs-ruleset",
            f"mount -t overlay none -o {layers} /etc",
            "mkdir -p /etc/qhs",
            f"mount --bind {self.etc} /etc/qhs",
            "echo up",
            "exec sleep 600",
        ]
        self.init = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", " && ".join(steps)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.init.stdout
        assert self.init.stdout.readline() == "up\n"

    def shell(self, *command: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        inside = ["nsenter", f"--target={self.init.pid}", "--net", "--mount", *command]
        env = {"PATH": os.environ["PATH"], **environment}
        return subprocess.run(inside, input=text, capture_output=True, text=True, check=False, env=env, timeout=20)

    def ask(self, words: str, text: str = "") -> dict[str, Any]:
        """As over SSH."""
        done = self.shell(sys.executable, str(self.program), text=text, SSH_ORIGINAL_COMMAND=words)
        answer: dict[str, Any] = json.loads(done.stdout)
        assert done.stdout.count("\n") == 1
        assert done.returncode == ("error" in answer), done.stderr
        return answer

    def refused(self, words: str, text: str = "") -> str:
        return str(self.ask(words, text)["error"]["code"])

    def local(self, *words: str, text: str = "") -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.shell(sys.executable, str(self.program), *words, text=text).stdout)
        return answer

    def apply(self, text: str) -> dict[str, Any]:
        return self.ask(f"apply {digest(text)}", text)

    def keep(self, text: str) -> None:
        answer = self.apply(text)
        assert "error" not in answer, answer
        assert self.ask(f"confirm {digest(text)}") == {"confirmed": digest(text)}

    def table(self) -> str:
        return self.shell("nft", "--stateless", "list", "table", "inet", "qhs").stdout

    def names(self) -> list[str]:
        return [line.rsplit('"', 2)[1] for line in self.table().splitlines() if "comment" in line]

    def counters(self) -> dict[str, int]:
        """Packets that the rules of each comment have counted."""
        shown = self.shell("nft", "list", "table", "inet", "qhs").stdout
        found: Counter[str] = Counter()
        for packets, name in re.findall(r'counter packets (\d+) .* comment "(.*)"', shown):
            found[name] += int(packets)
        return dict(found)

    def witness(self) -> dict[str, int]:
        """Packets that the counters of a test's own table `witness` have counted, by their names."""
        told = json.loads(self.shell("nft", "-j", "list", "counters", "table", "inet", "witness").stdout)
        return {one["counter"]["name"]: one["counter"]["packets"] for one in told["nftables"] if "counter" in one}

    def until(self, names: list[str], seconds: float = 8) -> None:
        end = time.monotonic() + seconds
        while self.names() != names:
            assert time.monotonic() < end, self.names()
            time.sleep(0.1)

    def end(self) -> None:
        self.init.kill()
        self.init.wait()
