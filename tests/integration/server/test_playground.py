# SPDX-License-Identifier: Apache-2.0
"""The playground's door in front of a real server: clients get through, hostile requests do not, the server lives."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import pytest

from tests.data import shapes
from yolov8_server import TritonServer
from yolov8_server._door.door import Door
from yolov8_server._door.serve import open_door
from yolov8_triton import AccessRefusedError, Client, InvalidImageError

MODEL = "shapes-detect"
INFER = f"/v2/models/{MODEL}/infer"
LENGTH = "Inference-Header-Content-Length"
NESTED = b"[" * 150_000
CHUNKS = b"1\r\nx\r\n" * 600_000 + b"0\r\n\r\n"
START_S = 60


@dataclass
class Served:
    server: TritonServer
    url: str


@pytest.fixture(scope="module")
def served(detector_repository: Path) -> Iterator[Served]:
    door = Door()
    listener = door.listen()
    with (
        TritonServer(detector_repository, stop_timeout_s=0) as server,
        open_door(door, listener, triton=server.http_url, headers=server.http_headers) as url,
    ):
        yield Served(server, url.rstrip("/"))


def picture() -> bytes:
    return cv2.imencode(".jpg", shapes.scene(7, "detect", size=(200, 300)).image)[1].tobytes()


def found(served: Served) -> int:
    with Client(served.url, model=MODEL, timeout_s=30) as client:
        return len(client.detect(picture(), conf=0.1))


def test_a_client_gets_the_same_through_the_door_as_over_grpc(served: Served) -> None:
    with Client(served.url, model=MODEL) as through, Client(served.server.grpc_url, model=MODEL) as direct:
        assert MODEL in through.models()
        through.check()
        expected = direct.detect(picture(), conf=0.1, classes=[0, 1]).to_dict()
        assert through.detect(picture(), conf=0.1, classes=[0, 1]).to_dict() == expected
        assert expected["objects"]
        with pytest.raises(InvalidImageError):
            through.detect(b"no image")


def test_beside_the_door_inference_over_http_stays_closed(served: Served) -> None:
    with Client(f"http://{served.server.http_url}", model=MODEL) as client, pytest.raises(AccessRefusedError):
        client.detect(picture())


def head_of(shape: object) -> bytes:
    tensor = {"name": "image", "datatype": "UINT8", "shape": shape, "parameters": {"binary_data_size": 1}}
    return json.dumps({"inputs": [tensor]}).encode()


HUGE = head_of([1, 2**62])
OTHER = b'{"inputs":[{"name":"image","shape":[1,4611686018427387904],"datatype":"UINT8","data":[1]}]}'


@pytest.mark.parametrize(
    ("header", "body"),
    [
        pytest.param(f"Content-Length: {len(NESTED)}", NESTED, id="deep-json"),
        pytest.param(f"Content-Length: {len(OTHER)}", OTHER, id="json-shape-of-2^62"),
        pytest.param(f"{LENGTH}: {len(HUGE)}\r\nContent-Length: {len(HUGE) + 1}", HUGE + b"x", id="shape-of-2^62"),
        pytest.param(f"{LENGTH}: 9999\r\nContent-Length: {len(NESTED)}", NESTED, id="deepest-header"),
        pytest.param(f"{LENGTH}: 150000\r\nContent-Length: {len(NESTED)}", NESTED, id="longer-header"),
        pytest.param("Transfer-Encoding: chunked", CHUNKS, id="many-chunks"),
        pytest.param(f"{LENGTH}: 9\r\nTransfer-Encoding: chunked", CHUNKS, id="chunks-of-binary-tensors"),
        pytest.param(f"{LENGTH}: 2\r\nContent-Length: 2\r\nTransfer-Encoding: chunked", b"0\r\n\r\n", id="two-lengths"),
        pytest.param(f"{LENGTH}: 2\r\nContent-Length: 99999999999999", b"{}", id="endless"),
        pytest.param(f"{LENGTH}: 2\r\nContent-Encoding: gzip\r\nContent-Length: 2", b"{}", id="compressed"),
    ],
)
@pytest.mark.parametrize(
    "path", [INFER, "/v2/repository/index", "/v2/logging", "/v2/systemsharedmemory/region/r/register"]
)
def test_no_request_through_the_door_ends_the_server(served: Served, path: str, header: str, body: bytes) -> None:
    port = int(served.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection, suppress(ConnectionError):
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{header}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)
        answer = connection.recv(4096)
        if path != "/v2/repository/index":
            assert re.match(rb"HTTP/1\.[01] 4", answer), answer[:200]

    assert found(served) > 0
    assert served.server.wait(0) is None


def test_after_a_restart_the_door_leads_to_the_new_server(served: Served) -> None:
    before = found(served)
    os.kill(served.server.pid, signal.SIGKILL)

    served.server.restart()

    assert found(served) == before > 0


def test_the_command_serves_the_page_and_ends_with_it(detector_repository: Path, tmp_path: Path) -> None:
    (tmp_path / "bus.jpg").write_bytes(picture())
    ports = ("--grpc-port=0", "--http-port=0", "--metrics-port=0", "--playground", "0")
    command = [
        sys.executable,
        "-m",
        "yolov8_server",
        *ports,
        str(detector_repository),
        f"--playground-samples={tmp_path}",
        "--playground-cameras=http://127.0.0.1:9100",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = dict(line.split(maxsplit=1) for line in iter(process.stdout.readline, "ready; stop with Ctrl-C\n"))
        page = lines["page"].strip()
        with urllib.request.urlopen(page, timeout=START_S) as answer:
            assert "<title>YOLOv8 playground</title>" in answer.read().decode()
        with urllib.request.urlopen(f"{page}samples/", timeout=START_S) as answer:
            assert json.load(answer) == ["bus.jpg"]
        with urllib.request.urlopen(lines["cameras"].strip(), timeout=START_S) as answer:
            assert "wall.js" in answer.read().decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_S) == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(page, timeout=START_S)
