"""Building a tool from its Go module."""

import hashlib
import os
import platform
import shutil
import subprocess
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from qhs.child import follow
from qhs.errors import UserError
from qhs.folders import cache
from qhs.progress import Progress
from qhs.tools import golang, store
from qhs.tools.spec import ModuleFile, ToolSpec

# Without cgo a program runs on any Linux, whatever C library built it: some are copied into other machines.
_SETTINGS = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOTOOLCHAIN": "local", "GOWORK": "off"}
_FLAGS = ["-trimpath"]
_MIB_A_JOB = 3000  # the compiler's and linker's largest, seen with the engine's cloud clients
_EVERY = 10.0  # seconds between two lines of progress


def key(spec: ToolSpec, go: golang.Go) -> str:
    """Stands for everything that the built programs depend on."""
    digest = hashlib.sha256(repr([go.version, platform.machine(), _FLAGS, _SETTINGS]).encode())
    for file in sorted(path for path in spec.folder.rglob("*") if path.is_file()):
        digest.update(f"\n{file.relative_to(spec.folder)}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Build:
    """One build of `spec` with `go`, into a folder that `store.keep` gives."""

    spec: ToolSpec
    go: golang.Go
    progress: Progress
    free: store.FreeSpace = store.free_mib

    def into(self, folder: Path) -> None:
        """Leave `folder/bin` with the programs. Raises UserError with Go's last words."""
        go, environ = self._go(folder)
        caches = [Path(self._ask(go, environ, folder, "env", name)) for name in ("GOCACHE", "GOMODCACHE")]
        store.require_space([cache(), *caches], self.spec.needs_mib, self.spec.name, self.free)
        name, version = self.spec.name, self.spec.version
        self.progress(f"{name}: building {version} from source with Go {self.go.version}; minutes the first time")
        packages = self.resolve(folder)
        self._compile(go, environ, folder, packages)
        for file in self.spec.ships:
            self._copy(go, environ, folder / "source", file, folder / "bin" / file.into)
        store.remove(folder / "source")

    def resolve(self, folder: Path) -> int:
        """Leave all sources in `folder/source`, fetch every module, and return how many packages will be compiled.

        Raises UserError where one is missing, or is not what go.sum says.
        """
        go, environ = self._go(folder)
        source = folder / "source"
        shutil.copytree(self.spec.folder, source)
        for file in self.spec.sources:
            self._copy(go, environ, source, file, source / file.into)
        needed = _Counted(f"{self.spec.name}: fetching modules", self.progress)
        self._run([str(go), "list", "-deps", *self.spec.packages], environ, source, needed)
        return needed.count

    def _go(self, folder: Path) -> tuple[Path, dict[str, str]]:
        """The `go` program and its environment."""
        return self.go.ready(self.progress), os.environ | _SETTINGS | {"GOTMPDIR": str(folder)}

    def _compile(self, go: Path, environ: dict[str, str], folder: Path, packages: int) -> None:
        stamps = " ".join(
            f"-X {variable}={text.format(version=self.spec.version)}" for variable, text in self.spec.stamps.items()
        )
        stamps += " -s -w" if self.spec.stripped else ""
        command = ["nice", str(go), "build", "-v", f"-p={jobs()}", *_FLAGS, "-ldflags", stamps, "-o", f"{folder}/bin/"]
        compiled = _Counted(f"{self.spec.name}: compiled", self.progress, packages)
        self._run([*command, *self.spec.packages], environ, folder / "source", compiled)

    def _run(self, command: list[str], environ: dict[str, str], cwd: Path, lines: "_Counted") -> None:
        code = follow(command, environ, cwd, lines)
        if code:
            said = "\n    ".join(lines.last)
            raise UserError(
                f"building {self.spec.name} {self.spec.version} failed with exit code {code}; Go said:\n    {said}",
                "put right what Go names (network, disk, memory), then run again: what is compiled stays",
            )

    def _copy(self, go: Path, environ: dict[str, str], source: Path, file: ModuleFile, target: Path) -> None:
        self._ask(go, environ, source, "mod", "download", file.module)
        module = self._ask(go, environ, source, "list", "-m", "-f", "{{.Dir}}", file.module)
        target.mkdir(exist_ok=True)
        shutil.copyfile(Path(module) / file.path, target / Path(file.path).name)

    def _ask(self, go: Path, environ: dict[str, str], cwd: Path, *arguments: str) -> str:
        run = subprocess.run([str(go), *arguments], env=environ, cwd=cwd, capture_output=True, text=True, check=False)
        if run.returncode:
            raise UserError(
                f"`go {' '.join(arguments)}` failed: {run.stderr.strip()}", "put that right, then run again"
            )
        return run.stdout.strip()


class _Counted:
    """Go's lines as progress: how many packages of how many, at most one line in `_EVERY` seconds."""

    def __init__(self, what: str, progress: Progress, total: int | None = None) -> None:
        self.count = 0
        self.last: deque[str] = deque(maxlen=15)
        self._what, self._progress, self._total = what, progress, total
        self._started = self._said = time.monotonic()

    def __call__(self, line: str) -> None:
        self.last.append(line)
        self.count += not line.startswith(("go: ", "#", "\t"))
        now = time.monotonic()
        if now - self._said >= _EVERY:
            self._said = now
            of = f" of at most {self._total} packages" if self._total else ""
            self._progress(f"{self._what} {self.count}{of}, {now - self._started:.0f} s")


def jobs() -> int:
    """Compilers at once: one a core, fewer where the memory does not hold them."""
    cores = len(os.sched_getaffinity(0))
    memory_mib = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    return max(1, min(cores, memory_mib // _MIB_A_JOB))
