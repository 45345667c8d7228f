"""Every tool resolves, built or not; the Kubernetes plugin is the one that its package speaks to."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto.provider_pb2 import GetSchemaRequest
from pulumi.runtime.proto.provider_pb2_grpc import ResourceProviderStub

from qhs.tools import build, ensure, golang, spec


@pytest.mark.parametrize("name", spec.names())
def test_a_tool_resolves_to_the_last_package(name: str, tmp_path: Path) -> None:
    """Of all that a build compiles: a module that is gone, or is another one, would be seen here, in seconds."""
    tool = spec.load(name)
    go = golang.choose(golang.directive(tool.folder))
    assert build.Build(tool, go, print).resolve(tmp_path) > 100


def test_the_kubernetes_plugin_is_of_the_version_of_its_package_and_answers() -> None:
    tool = ensure(["kubernetes-plugin"])["kubernetes-plugin"]
    assert metadata.version("pulumi-kubernetes") == tool.version
    program = tool.programs["pulumi-resource-kubernetes"]
    no_engine = "127.0.0.1:1"
    with subprocess.Popen([program, no_engine], stdout=subprocess.PIPE, text=True) as plugin:
        try:
            assert plugin.stdout
            port = plugin.stdout.readline().strip()
            limit = [("grpc.max_receive_message_length", 50_000_000)]
            with grpc.insecure_channel(f"127.0.0.1:{port}", limit) as channel:
                stub = ResourceProviderStub(channel)
                assert stub.GetPluginInfo(Empty(), timeout=20).version == tool.version
                schema = stub.GetSchema(GetSchemaRequest(version=0), timeout=20).schema
        finally:
            plugin.kill()
    assert '"kubernetes:apps/v1:Deployment"' in schema
