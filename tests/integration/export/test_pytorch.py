# SPDX-License-Identifier: Apache-2.0
"""One server runs the same weights in ONNX Runtime and in PyTorch, from one repository, and both find the same."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ultralytics import YOLO

from tests.data import shapes
from tests.engine_answers import asked, assert_batched, assert_same_found
from yolov8_export.checks.repository import check
from yolov8_export.choices import CalibrationData
from yolov8_export.config.deployment import Deployment
from yolov8_export.estimates import estimate
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import StartError, TritonServer
from yolov8_triton import Client

DATA = Path(__file__).parents[2] / "data"
VARIANTS: dict[str, dict[str, Any]] = {"": {}, "-lean": {"network_input": "uint8", "network_output": "best-class"}}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TorchScript file as Ultralytics itself exports it."""
    weights = shutil.copy(DATA / "shapes-segment.pt", tmp_path_factory.mktemp("given"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises against TorchScript
        return Path(YOLO(weights).export(format="torchscript", imgsz=160))


@pytest.fixture(scope="module")
def both(repository: Path, given: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of the shared repository, and beside each one in PyTorch."""
    folder = tmp_path_factory.mktemp("both") / "repository"
    shutil.copytree(repository, folder, ignore=shutil.ignore_patterns("shapes-batched*"))
    for task in shapes.TASKS:
        deployment = Deployment(engine="pytorch", instances=1)
        export(DATA / f"shapes-{task}.pt", Target(repository=folder, name=f"torch-{task}"), deployment=deployment)
    lean = Deployment(engine="pytorch", instances=1, queue_delay_us=50_000, **VARIANTS["-lean"])
    export(DATA / "shapes-pose.pt", Target(repository=folder, name="torch-pose-lean"), deployment=lean)
    unchanged = Deployment(engine="pytorch", instances=1)
    export(given, Target(repository=folder, name="torch-given"), deployment=unchanged)
    scenes = tmp_path_factory.mktemp("scenes")
    for seed in range(6):
        cv2.imwrite(str(scenes / f"{seed}.png"), shapes.scene(99_000 + seed, "pose", size=(160, 160)).image)
    half = Deployment(engine="pytorch", instances=1, precision="fp16", **VARIANTS["-lean"])
    target = Target(repository=folder, name="torch-pose-fp16")
    report = export(
        DATA / "shapes-pose.pt", target, deployment=half, calibration_data=CalibrationData(evaluation=scenes)
    )
    assert report.accuracy is not None
    assert (report.accuracy.engine, report.accuracy.kind) == ("pytorch", "keypoints")
    assert any("--device gpu" in note for note in report.notes)
    assert check(folder).findings == ()
    return folder


@pytest.fixture(scope="module")
def running(both: Path) -> Iterator[TritonServer]:
    with TritonServer(both, ready_timeout_s=120) as server:
        yield server


@pytest.mark.parametrize(
    ("name", "task"),
    [*((f"torch-{task}", task) for task in shapes.TASKS), ("torch-pose-lean", "pose"), ("torch-given", "segment")],
)
def test_it_finds_what_onnx_runtime_finds(running: TritonServer, name: str, task: str) -> None:
    assert_same_found(running.grpc_url, name, f"shapes-{task}", task)


def test_fp16_finds_nearly_the_same(running: TritonServer, both: Path) -> None:
    url = running.grpc_url
    for mine, other in zip(asked(url, "torch-pose-fp16", "pose"), asked(url, "shapes-pose", "pose"), strict=True):
        assert len(mine) == len(other) > 0
        np.testing.assert_array_equal(mine.class_id, other.class_id)
        np.testing.assert_allclose(mine.confidence, other.confidence, rtol=0, atol=0.01)
        np.testing.assert_allclose(mine.xyxy, other.xyxy, rtol=0, atol=1.0)
        assert not np.array_equal(mine.confidence, other.confidence)
    with Client(url, model="torch-pose-fp16") as client:
        assert client.info().precision == "fp16"
    network = both / "torch-pose-fp16_network" / "1" / "model.pt"
    assert network.stat().st_size < 0.7 * (both / "torch-pose-lean_network" / "1" / "model.pt").stat().st_size
    cost = [estimate(both, f"torch-pose-{name}") for name in ("fp16", "lean")]
    assert [one.precision for one in cost] == ["fp16", "fp32"]
    assert cost[0].cost.weight_bytes < 0.6 * cost[1].cost.weight_bytes


def test_ultralytics_own_client_works_on_the_bare_network(running: TritonServer) -> None:
    remote = YOLO(f"grpc://{running.grpc_url}/torch-detect_network", task="detect")
    image = shapes.scene(97_000, "detect", size=(200, 333)).image

    (found,) = remote.predict(image, rect=False, verbose=False)

    with Client(running.grpc_url, model="torch-detect", array_format="bmp") as client:
        expected = client.detect(image, channels="BGR")
    assert len(expected) > 0
    np.testing.assert_allclose(found.boxes.xyxy.numpy(), expected.xyxy, atol=0.05)


def test_the_given_file_is_the_one_that_runs(both: Path, given: Path) -> None:
    assert (both / "torch-given_network" / "1" / "model.pt").read_bytes() == given.read_bytes()
    manifest = json.loads((both / "torch-given_network" / "1" / "manifest.json").read_text())
    assert manifest["source"]["format"] == "torchscript"


def test_requests_are_batched(running: TritonServer) -> None:
    assert_batched(running.grpc_url, "torch-pose-lean")


def test_a_network_of_a_wrong_shape_keeps_its_server_from_starting(both: Path, tmp_path: Path) -> None:
    shutil.copytree(both / "torch-detect_network", tmp_path / "repository" / "torch-detect_network")
    config = tmp_path / "repository" / "torch-detect_network" / "config.pbtxt"
    config.write_text(config.read_text().replace("dims: [7, 525]", "dims: [7, 526]"))
    assert "526" in config.read_text()

    with pytest.raises(StartError, match=r"the module gives \[7, 525\]"):
        TritonServer(tmp_path / "repository").start()
