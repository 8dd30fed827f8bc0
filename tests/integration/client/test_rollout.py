# SPDX-License-Identifier: Apache-2.0
"""A model is loaded, compared, promoted and rolled back on a real server under load."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import tritonclient.grpc as triton

from tests.data import shapes
from yolov8_export import Target, export
from yolov8_export.config.deployment import Deployment
from yolov8_server import TritonServer
from yolov8_triton import AccessRefusedError, Canary, Client, ModelControl, RolloutError, YoloTritonError

OLD, NEW, KEY = "shapes-detect", "shapes-next", "s3cret"
CALLERS = 2


@pytest.fixture(scope="module")
def server(detector_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A server with model control, on a repository that holds the old model."""
    folder = tmp_path_factory.mktemp("rollout") / "repository"
    shutil.copytree(detector_repository, folder)
    with TritonServer(folder, model_control=True, admin_key=KEY, stop_timeout_s=0) as running:
        weights = Path(__file__).parents[2] / "data" / "shapes-detect.pt"
        export(weights, Target(repository=folder, name=NEW), deployment=Deployment(instances=1))
        yield running


@pytest.fixture
def image() -> bytes:
    return cv2.imencode(".png", shapes.scene(3, "detect", size=(160, 240)).image)[1].tobytes()


class Load:
    """Callers of the old model, until they are stopped."""

    def __init__(self, url: str, image: bytes) -> None:
        self.answers, self.errors = 0, list[YoloTritonError]()
        self._url, self._image = url, image
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        with Client(self._url, model=OLD, timeout_s=30) as client:
            while not self._stop.is_set():
                try:
                    client.detect(self._image)
                    self.answers += 1
                except YoloTritonError as exc:  # noqa: PERF203  (a request costs far more)
                    self.errors.append(exc)


def test_a_new_model_is_loaded_compared_promoted_and_rolled_back_without_a_lost_request(
    server: TritonServer, image: bytes
) -> None:
    url = server.grpc_url
    with Load(url, image) as load, ModelControl(url, key=KEY) as control:
        control.load(NEW)
        with Client(url, model=OLD) as old, Client(url, model=NEW) as new, Canary(old, new, share=1) as canary:
            for _ in range(10):
                canary.detect(image)
        control.promote(OLD, NEW)
        promoted = control.serving()[OLD]
        before = executions(url)
        with Client(url, model=OLD) as client:
            client.detect(image)
        after = executions(url)
        control.roll_back(OLD)
        back = control.serving()[OLD]
        gone = control.unload(NEW)

    assert canary.report().values["objects"]["matched_share"] == 1
    assert (promoted[1], back[1]) == (f"{NEW}_network", f"{OLD}_network")
    assert after > before
    assert len(gone) == 4
    assert loads_of(server, f"{OLD}_postprocess") == 1
    assert load.errors == []
    assert load.answers > 10


def loads_of(server: TritonServer, model: str) -> int:
    """Return how often a composing model was loaded; a rollback that loads one again takes seconds."""
    return server.log_tail(10_000).count(f"loading: {model}:1")


def executions(url: str) -> int:
    """Return how often the new model's network ran."""
    statistics = triton.InferenceServerClient(url).get_inference_statistics(f"{NEW}_network")
    return int(statistics.model_stats[0].inference_count)


def test_a_promotion_that_would_end_the_old_model_is_refused(server: TritonServer, image: bytes) -> None:
    url = server.grpc_url
    with ModelControl(url, key=KEY) as control:
        control.load(NEW)
        triton.InferenceServerClient(url).unload_model(
            f"{NEW}_network", headers={"triton-grpc-protocol-triton-admin-key": KEY}
        )
        with pytest.raises(RolloutError, match="is not ready"):
            control.promote(OLD, NEW)
        with Client(url, model=OLD) as client:
            assert client.detect(image) is not None


def test_without_the_key_models_can_be_neither_loaded_nor_listed(server: TritonServer) -> None:
    with ModelControl(server.grpc_url, key="wrong") as control, pytest.raises(AccessRefusedError, match="restricted"):
        control.load(OLD)
    with Client(server.grpc_url) as client, pytest.raises(AccessRefusedError, match="restricted"):
        client.models()
