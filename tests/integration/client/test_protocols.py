# SPDX-License-Identifier: Apache-2.0
"""gRPC and HTTP, blocking and asyncio, compressed or not: the real server's answers are the same through all."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import cv2
import numpy as np
import pytest

from tests.data import shapes
from yolov8_server import TritonServer
from yolov8_triton import (
    AsyncClient,
    Client,
    InvalidImageError,
    InvalidParameterError,
    ModelNotFoundError,
    ServerOverloadedError,
)


def blocking(url: str, method: str, *arguments: Any, model: str, **options: Any) -> Any:
    with Client(url, model=model, **options) as client:
        return getattr(client, method)(*arguments)


def awaited(url: str, method: str, *arguments: Any, model: str, **options: Any) -> Any:
    async def run() -> Any:
        async with AsyncClient(url, model=model, **options) as client:
            return await getattr(client, method)(*arguments)

    return asyncio.run(run())


WAYS = {
    "grpc-asyncio": (awaited, "", {}),
    "http": (blocking, "http://", {}),
    "http-asyncio": (awaited, "http://", {}),
    "grpc-gzip": (blocking, "", {"compression": "gzip"}),
    "grpc-deflate": (blocking, "", {"compression": "deflate"}),
    "http-gzip": (blocking, "http://", {"compression": "gzip"}),
    "http-deflate-asyncio": (awaited, "http://", {"compression": "deflate"}),
}


def other_way(server: TritonServer, way: str, method: str, *arguments: Any, model: str) -> Any:
    run, scheme, options = WAYS[way]
    url = f"{scheme}{server.http_url}" if scheme else server.grpc_url
    return run(url, method, *arguments, model=model, **options)


def picture(task: str) -> bytes:
    return cv2.imencode(".jpg", shapes.scene(90_001, task, size=(240, 320)).image)[1].tobytes()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("task", shapes.TASKS)
def test_results_are_the_same(server: TritonServer, task: str, way: str) -> None:
    image, model = picture(task), f"shapes-{task}"

    expected = blocking(server.grpc_url, task, image, model=model)
    result = other_way(server, way, task, image, model=model)

    assert type(result) is type(expected)
    assert len(expected.scores if task == "classify" else expected.confidence)
    for field in dataclasses.fields(expected):
        np.testing.assert_array_equal(getattr(result, field.name), getattr(expected, field.name))


@pytest.mark.parametrize("way", [way for way in WAYS if way.startswith("http")])
@pytest.mark.parametrize("method", ["info", "models", "is_ready", "check"])
def test_the_server_says_the_same_of_itself(server: TritonServer, method: str, way: str) -> None:
    expected = blocking(server.grpc_url, method, model="shapes-pose")

    assert other_way(server, way, method, model="shapes-pose") == expected


@pytest.mark.parametrize("way", ["grpc-asyncio", "http", "http-asyncio"])
def test_a_request_that_may_hardly_wait_is_refused_as_overload(
    server: TritonServer, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yolov8_triton._transport.steps.QUEUED_SHARE", 1e-7)  # a microsecond

    with pytest.raises(ServerOverloadedError, match="Request timeout expired"):
        other_way(server, way, "detect", picture("detect"), model="shapes-detect")


@pytest.mark.parametrize("way", [way for way in WAYS if way.startswith("http")])
def test_errors_are_the_same(server: TritonServer, way: str) -> None:
    with pytest.raises(InvalidImageError, match="its format is unknown"):
        other_way(server, way, "detect", b"no image at all", model="shapes-detect")
    with pytest.raises(ModelNotFoundError, match="'nothing' is not found"):
        other_way(server, way, "detect", b"", model="nothing")
    assert other_way(server, way, "is_ready", model="nothing") is False


@pytest.mark.parametrize("way", [way for way in WAYS if way.startswith("http")])
def test_thresholds_arrive(server: TritonServer, way: str) -> None:
    run, scheme, options = WAYS[way]
    url = f"{scheme}{server.http_url}"

    def found(**thresholds: Any) -> int:
        def detect(client: Any) -> Any:
            return client.detect(picture("detect"), **thresholds)

        if run is blocking:
            with Client(url, model="shapes-detect", **options) as client:
                return len(detect(client))

        async def ask() -> int:
            async with AsyncClient(url, model="shapes-detect", **options) as client:
                return len(await detect(client))

        return asyncio.run(ask())

    assert found(max_det=1) == 1
    assert found(conf=0.999999) == 0
    with pytest.raises(InvalidParameterError, match="'conf' must be"):
        found(conf=2)
