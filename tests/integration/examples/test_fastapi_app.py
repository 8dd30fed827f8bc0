# SPDX-License-Identifier: Apache-2.0
"""The HTTP service: with a real Triton behind it, and each error as the status that says what to do."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import grpc
import httpx
import pytest

from tests.data import shapes
from tests.fakes.answers import model
from tests.fakes.fake_triton import Answer, FakeTriton, ensemble_config, refusing, serving
from tests.modules import from_file
from yolov8_contract.task import Task
from yolov8_server import TritonServer

EXAMPLES = Path(__file__).parents[3] / "examples"
MODEL = "shapes-detect"
SCENE = shapes.scene(70_000, "detect")
IMAGE = cv2.imencode(".png", SCENE.image)[1].tobytes()
LIMIT_S = 60


@contextmanager
def service(triton_url: str) -> Iterator[str]:
    """Run the app with uvicorn; yield its address."""
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "fastapi_app:app", "--port", "0"]
    environment = os.environ | {"YOLOV8_TRITON_URL": triton_url, "YOLOV8_TRITON_MODEL": MODEL}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if started := re.search(r"running on (http://\S+)", line):
                    break
            else:
                pytest.fail("".join(said))
            yield started[1]
        finally:
            process.terminate()
            process.communicate(timeout=LIMIT_S)


def test_images_are_answered_by_a_real_server(server: TritonServer) -> None:
    with service(server.grpc_url) as url, httpx.Client(base_url=url, timeout=LIMIT_S) as http:
        ready = http.get("/ready")
        answer = http.post("/detect", content=IMAGE, params={"conf": 0.5})
        bad = http.post("/detect", content=b"no image")
        wrong = http.post("/detect", content=IMAGE, params={"conf": 2})

    assert ready.json() == {"ready": True}
    assert answer.status_code == 200
    names = sorted(one["class_name"] for one in answer.json()["objects"])
    assert names == sorted(shapes.LABELS[one.class_id] for one in SCENE.shapes)
    assert (bad.status_code, bad.json()["error"]) == (422, "InvalidImageError")
    assert wrong.status_code == 422


@pytest.fixture
def app() -> ModuleType:
    return from_file("fastapi_app", EXAMPLES / "fastapi_app.py")


def posted(app: ModuleType, answer: Answer, monkeypatch: pytest.MonkeyPatch, content: Any) -> httpx.Response:
    """Post to the app in this process, before a server in a state that a real one can't be put in."""

    async def post(fake: FakeTriton) -> httpx.Response:
        monkeypatch.setenv("YOLOV8_TRITON_URL", fake.url)
        monkeypatch.setenv("YOLOV8_TRITON_MODEL", MODEL)
        transport = httpx.ASGITransport(app.app)
        async with app.lifespan(app.app), httpx.AsyncClient(transport=transport, base_url="http://app") as http:
            return await http.post("/detect", content=content)

    fake = FakeTriton({MODEL: ensemble_config(MODEL, model(Task.DETECT))}, answer)
    with serving(fake):
        return asyncio.run(post(fake))


@pytest.mark.parametrize(
    ("status", "text", "expected", "error"),
    [
        ("INVALID_ARGUMENT", "invalid image: x", 422, "InvalidImageError"),
        ("INVALID_ARGUMENT", "invalid parameter: x", 422, "InvalidParameterError"),
        ("UNAVAILABLE", "Exceeds maximum queue size", 503, "ServerOverloadedError"),
        ("UNAVAILABLE", "Server is stopping", 503, "ServerDrainingError"),
        ("DEADLINE_EXCEEDED", "", 504, "DeadlineExceededError"),
        ("UNAUTHENTICATED", "", 502, "AccessRefusedError"),
    ],
)
def test_an_error_is_a_status(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch, status: str, text: str, expected: int, error: str
) -> None:
    answer = posted(app, refusing(grpc.StatusCode[status], text), monkeypatch, IMAGE)

    assert (answer.status_code, answer.json()["error"]) == (expected, error)
    assert ("retry-after" in answer.headers) == (expected == 503)


def test_a_body_that_is_too_large_is_refused_before_it_is_all_there(
    app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        for number in range(64):
            sent.append(number)
            yield bytes(1 << 20)

    answered = posted(app, refusing(grpc.StatusCode.INTERNAL, "it was asked"), monkeypatch, body())

    assert answered.status_code == 413
    assert len(sent) < 64


def test_the_docs_page_takes_an_image_and_the_port_is_not_triton_s(app: ModuleType) -> None:
    body = app.app.openapi()["paths"]["/detect"]["post"]["requestBody"]

    assert body["content"]["application/octet-stream"]["schema"] == {"type": "string", "format": "binary"}
    assert body["required"]
    assert "localhost:8080/detect" in (EXAMPLES / "fastapi_app.py").read_text()
