"""The Python language host of the deployment engine.

The engine starts it as `pulumi-language-python [options] ENGINE_ADDRESS`, reads the port from its first line of output
and speaks the gRPC service LanguageRuntime with it. Programs and plugins run under the interpreter that runs the host.
"""

import argparse
import asyncio
import importlib.metadata
import json
import logging
import os
import signal
import stat
import sys
import sysconfig
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import override

import grpc
from children import Children
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import language_pb2 as language
from pulumi.runtime.proto import plugin_pb2 as plugin
from pulumi.runtime.proto.language_pb2_grpc import LanguageRuntimeServicer, add_LanguageRuntimeServicer_to_server

type Context = grpc.aio.ServicerContext[object, object]

_SHOWN = 32
"""Exit code of a program whose error the engine has been told already."""


class Host(LanguageRuntimeServicer):
    """Runs programs, provider plugins and policy packs. `bootstrap` is the engine's own starter of Python programs."""

    def __init__(self, bootstrap: str, engine: str, tracing: str) -> None:
        self.programs, self.plugins = Children(), Children()
        self._bootstrap, self._engine, self._tracing = bootstrap, engine, tracing

    @override
    async def Handshake(self, request: language.LanguageHandshakeRequest, context: Context) -> object:
        return language.LanguageHandshakeResponse()

    @override
    async def GetPluginInfo(self, request: Empty, context: Context) -> object:
        return plugin.PluginInfo(version=importlib.metadata.version("pulumi"))

    @override
    async def GetRequiredPackages(self, request: language.GetRequiredPackagesRequest, context: Context) -> object:
        return language.GetRequiredPackagesResponse(packages=required_packages())

    @override
    async def Run(self, request: language.RunRequest, context: Context) -> object:
        """Run a program to its end. What it prints goes straight to the host's output, which the engine shows."""
        environ = os.environ | {
            "PULUMI_CONFIG": json.dumps(dict(request.config)),
            "PULUMI_CONFIG_SECRET_KEYS": json.dumps(list(request.configSecretKeys)),
        }
        async with self.programs.start(self._command(request), environ, request.info.program_directory) as process:
            code = await process.wait()
        if code == _SHOWN:
            return language.RunResponse(bail=True)
        return language.RunResponse(error=_verdict(code))

    def _command(self, request: language.RunRequest) -> list[str]:
        options = {
            "monitor": request.monitor_address,
            "engine": self._engine,
            "project": request.project,
            "root_directory": request.info.root_directory,
            "stack": request.stack,
            "pwd": request.pwd,
            "dry_run": "true" if request.dryRun else "false",
            "parallel": str(request.parallel),
            "tracing": self._tracing,
            "organization": request.organization,
        }
        flags = [f"--{name}={value}" for name, value in options.items()]
        program = Path(request.info.program_directory, request.info.entry_point)
        return [sys.executable, "-u", self._bootstrap, *flags, "--", str(program), *request.args]

    @override
    async def RunPlugin(self, request: language.RunPluginRequest, context: Context) -> AsyncIterator[object]:
        """Run a plugin until it ends or the engine cancels the call: its output as it comes, then its exit code."""
        environ = dict(entry.split("=", 1) for entry in request.env) or dict(os.environ)
        program = Path(request.info.program_directory, request.info.entry_point)
        command = [sys.executable, "-u", str(program), *request.args]
        async with self.plugins.start(command, environ, request.pwd, PIPE) as process:
            said: asyncio.Queue[language.RunPluginResponse | None] = asyncio.Queue()
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_pump(process.stdout, said, lambda data: language.RunPluginResponse(stdout=data)))
                pumps.create_task(_pump(process.stderr, said, lambda data: language.RunPluginResponse(stderr=data)))
                open_streams = 2
                while open_streams:
                    if part := await said.get():
                        yield part
                    else:
                        open_streams -= 1
            yield language.RunPluginResponse(exitcode=await process.wait())

    @override
    async def InstallDependencies(
        self, request: language.InstallDependenciesRequest, context: Context
    ) -> AsyncIterator[object]:
        said = "Nothing to do: `make env` installs what requirements.lock names.\n"
        yield language.InstallDependenciesResponse(stdout=said.encode())

    @override
    async def RuntimeOptionsPrompts(self, request: language.RuntimeOptionsRequest, context: Context) -> object:
        return language.RuntimeOptionsResponse()

    @override
    async def About(self, request: language.AboutRequest, context: Context) -> object:
        return language.AboutResponse(executable=sys.executable, version=sys.version.split()[0])

    @override
    async def GetProgramDependencies(self, request: language.GetProgramDependenciesRequest, context: Context) -> object:
        found = {one.name: one.version for one in importlib.metadata.distributions()}
        dependencies = [language.DependencyInfo(name=name, version=found[name]) for name in sorted(found)]
        return language.GetProgramDependenciesResponse(dependencies=dependencies)

    @override
    async def Cancel(self, request: Empty, context: Context) -> Empty:
        """End the programs. Plugins finish what they are at: the engine cancels each RunPlugin when it is done."""
        await self.programs.end_all()
        return Empty()


def _verdict(code: int) -> str:
    if code < 0:
        return f"the program was ended by {signal.Signals(-code).name}"
    return f"the program ended with exit code {code}" if code else ""


async def _pump(
    stream: asyncio.StreamReader | None,
    said: "asyncio.Queue[language.RunPluginResponse | None]",
    wrap: Callable[[bytes], language.RunPluginResponse],
) -> None:
    while stream and (data := await stream.read(65536)):
        await said.put(wrap(data))
    await said.put(None)


def required_packages() -> Iterator[plugin.PackageDependency]:
    """The provider plugins that the installed Python packages speak to."""
    for site in sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}):
        for file in sorted(Path(site).glob("*/pulumi-plugin.json")):
            facts = json.loads(file.read_text())
            if facts.get("resource"):
                yield plugin.PackageDependency(
                    name=facts["name"],
                    kind="resource",
                    version=facts.get("version", ""),
                    server=facts.get("server", ""),
                )


async def serve(host: Host) -> None:
    """Serve until SIGINT, SIGTERM or the engine's end; then end every child and leave quietly."""
    limits = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.aio.server(options=limits)
    add_LanguageRuntimeServicer_to_server(host, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await _farewell()
    await asyncio.gather(host.programs.end_all(), host.plugins.end_all())
    await server.stop(grace=0.5)


async def _farewell() -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    stdin = sys.stdin.fileno()
    if stat.S_ISFIFO(os.fstat(stdin).st_mode):
        # The engine never writes to this pipe: that it can be read means that the engine is gone, killed perhaps.
        loop.add_reader(stdin, over.set)
    await over.wait()
    loop.remove_reader(stdin)


def main() -> None:
    """Parse what the launcher and the engine pass, and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--tracing", default="")
    parser.add_argument("engine")
    known, _ = parser.parse_known_args()
    # A call that the engine cancelled is no news, and its traceback would drown the result.
    if logging.lastResort:
        logging.lastResort.addFilter(_no_cancellation)
    asyncio.run(_serve_and_leave(Host(known.bootstrap, known.engine, known.tracing)))


async def _serve_and_leave(host: Host) -> None:
    """Serve, then end at once: unwinding the calls that are still open would print a traceback for each."""
    await serve(host)
    os._exit(0)


def _no_cancellation(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


if __name__ == "__main__":
    main()
