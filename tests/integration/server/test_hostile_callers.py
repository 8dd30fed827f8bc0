# SPDX-License-Identifier: Apache-2.0
"""A server with its default options outlives requests that end this release of Triton, and closes what can harm it."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.integration.server import models
from tests.integration.server.traces import wait_until
from yolov8_server import InvalidArgumentError, TritonServer
from yolov8_triton import AccessRefusedError, Client

NESTED = b"[" * 150_000
CHUNKS = b"1\r\nx\r\n" * 600_000 + b"0\r\n\r\n"
PATHS = [
    "v2/models/double/infer",
    "v2/models/double/versions/1/infer",
    "v2/models/double/generate",
    "v2/models/double/generate_stream",
    "v2/repository/index",
    "v2/repository/models/double/load",
    "v2/repository/models/double/unload",
    "v2/systemsharedmemory/region/r/register",
    "v2/cudasharedmemory/region/r/register",
    "v2/trace/setting",
    "v2/models/double/trace/setting",
    "v2/logging",
    "v2/models/double/config",
    "v2/models/double/stats",
    "v2/health/ready",
    "v2",
]


def huge_shape(size: int) -> bytes:
    return json.dumps({"inputs": [{"name": "x", "shape": [1, size], "datatype": "FP32", "data": [1]}]}).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("served")
    models.write_double(folder)
    with TritonServer(folder, stop_timeout_s=0) as running:
        yield running


def post(url: str, path: str, header: str, body: bytes) -> bytes:
    """Send a request over HTTP; return the start of the answer, or nothing where the server hangs up."""
    host, _, port = url.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        try:
            connection.sendall(
                f"POST /{path} HTTP/1.1\r\nHost: x\r\n{header}\r\nConnection: close\r\n\r\n".encode() + body
            )
            return connection.recv(4096)
        except ConnectionError:
            return b""


@pytest.mark.parametrize(
    ("header", "body"),
    [
        pytest.param(None, huge_shape(2**62), id="shape-of-2^62"),
        pytest.param(None, huge_shape(2**33), id="shape-of-2^33"),
        pytest.param(None, NESTED, id="deep-json"),
        pytest.param("Transfer-Encoding: chunked", CHUNKS, id="many-chunks"),
    ],
)
@pytest.mark.parametrize("path", PATHS)
def test_no_http_request_ends_the_server(server: TritonServer, path: str, header: str | None, body: bytes) -> None:
    post(server.http_url, path, header or f"Content-Length: {len(body)}", body)

    assert models.doubled(server.grpc_url) == [2, 4]
    assert server.wait(0) is None


def test_inference_over_http_is_closed_and_says_so(server: TritonServer) -> None:
    body = huge_shape(2)

    answer = post(server.http_url, PATHS[0], f"Content-Length: {len(body)}", body)

    assert b"This API is restricted, expecting header 'closed-see-yolov8-server-help'" in answer


@pytest.mark.parametrize("foreign", ["Origin: https://elsewhere.example\r\nContent-Type: text/plain", "Accept: */*"])
@pytest.mark.parametrize("path", PATHS[4:12])
def test_control_over_http_is_closed(server: TritonServer, path: str, foreign: str) -> None:
    answer = post(server.http_url, path, f"{foreign}\r\nContent-Length: 2", b"{}")

    assert b"This API is restricted" in answer


def test_the_client_says_which_option_opens_it(server: TritonServer) -> None:
    with (
        Client(f"http://{server.http_url}", model="double") as client,
        pytest.raises(AccessRefusedError, match="yolov8-server opens it with --http"),
    ):
        client.models()


def test_control_over_grpc_is_closed(server: TritonServer) -> None:
    with triton.InferenceServerClient(server.grpc_url) as client:
        for call in (
            lambda: client.register_system_shared_memory("region", "/region", 64),
            client.get_trace_settings,
            client.get_log_settings,
        ):
            with pytest.raises(InferenceServerException, match="This protocol is restricted"):
                call()
        assert client.get_model_repository_index().models[0].name == "double"  # read-only without model control


def test_model_control_closes_the_repository(tmp_path: Path) -> None:
    models.write_double(tmp_path)
    control = ("--model-control-mode=explicit", "--load-model=double")

    with (
        TritonServer(tmp_path, arguments=control, allow=["logging"], stop_timeout_s=0) as server,
        triton.InferenceServerClient(server.grpc_url) as client,
    ):
        assert client.get_log_settings().settings
        with pytest.raises(InferenceServerException, match="This protocol is restricted"):
            client.unload_model("double")


def test_a_protocol_that_does_not_exist_can_not_be_allowed(tmp_path: Path) -> None:
    models.write(tmp_path, "double", models.FLAT, graph=models.double())

    with pytest.raises(InvalidArgumentError, match="can't allow 'sharedmemory': expected one of shared-memory, trace"):
        TritonServer(tmp_path, allow=["sharedmemory"]).start()


def test_idle_connections_do_not_exhaust_a_low_limit_of_open_files(tmp_path: Path) -> None:
    models.write_double(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        server = TritonServer(tmp_path, stop_timeout_s=0)
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    host, _, port = server.http_url.rpartition(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(200)]
    try:
        assert models.doubled(server.grpc_url) == [2, 4]
    finally:
        for connection in idle:
            connection.close()
        server.stop()


def test_too_few_open_files_are_named(tmp_path: Path) -> None:
    models.write(tmp_path, "double", models.FLAT, graph=models.double())
    command = f"ulimit -n 64; exec {sys.executable} -m yolov8_server {tmp_path}"

    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 1
    assert done.stderr.startswith("error: at most 64 files may be open (hard limit), expected at least 256")


def test_a_log_that_grows_without_end_is_rotated(tmp_path: Path) -> None:
    models.write_double(tmp_path / "repository")
    log = tmp_path / "log"

    with TritonServer(tmp_path / "repository", log_file=log, stop_timeout_s=0) as server:
        with log.open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, 33 * 1024 * 1024)
        wait_until(lambda: "starts anew" in server.log_tail(), "the log was not emptied")

        assert log.stat().st_size < 1024 * 1024
        assert (tmp_path / "log.1").stat().st_size == 33 * 1024 * 1024
