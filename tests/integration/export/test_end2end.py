# SPDX-License-Identifier: AGPL-3.0-or-later
"""Networks of YOLO26 that choose their objects themselves are served as Ultralytics' predict answers with them."""

from __future__ import annotations

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
from tests.data.figures import weights_path
from yolov8_export.checks.repository import check
from yolov8_export.choices import CalibrationData
from yolov8_export.config.deployment import Deployment
from yolov8_export.overrides import ModelOverrides
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer
from yolov8_triton import Client, InvalidParameterError

SIZES = [(160, 160), (120, 333), (300, 210)]
IMAGES = [shapes.scene(61_000 + seed, "detect", size=size).image for seed, size in enumerate(SIZES)]


WEIGHTS = weights_path("detect", "yolo26")
FP16 = {"chosen-fp16": "onnxruntime", "chosen-torch-fp16": "pytorch"}


GIVEN = {"given-one2many": None, "given-one2one": False}
"""TorchScript files that Ultralytics writes with each head, and its ``nms`` for them."""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("given")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises against TorchScript
        return {
            name: Path(
                YOLO(shutil.copy(WEIGHTS, folder / f"{name}.pt")).export(format="torchscript", nms=nms, imgsz=160)
            )
            for name, nms in GIVEN.items()
        }


@pytest.fixture(scope="module")
def repository(given: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network in ONNX Runtime and in PyTorch, in FP32 and in FP16."""
    folder = tmp_path_factory.mktemp("chosen")
    seen = folder / "seen"
    seen.mkdir()
    for index, image in enumerate(IMAGES):
        cv2.imwrite(str(seen / f"{index}.png"), image)

    def write(name: str, **settings: Any) -> None:
        export(
            WEIGHTS,
            Target(repository=folder / "repository", name=name),
            overrides=ModelOverrides(head="one2one"),
            deployment=Deployment(instances=1, **settings),
            calibration_data=CalibrationData(evaluation=seen),
        )

    write("chosen")
    write("chosen-torch", engine="pytorch")
    for name, engine in FP16.items():
        write(name, engine=engine, precision="fp16")
    for name, file in given.items():
        target = Target(repository=folder / "repository", name=name)
        export(file, target, deployment=Deployment(instances=1, engine="pytorch"))
        assert (folder / "repository" / f"{name}_network" / "1" / "model.pt").read_bytes() == file.read_bytes()
    return folder / "repository"


@pytest.fixture(scope="module")
def url(repository: Path) -> Iterator[str]:
    with TritonServer(repository, ready_timeout_s=120) as server:
        yield server.grpc_url


def test_the_repository_is_without_fault(repository: Path) -> None:
    assert check(repository).findings == ()


@pytest.mark.parametrize("name", ["chosen", "chosen-torch", "given-one2one"])
def test_a_real_server_answers_as_predict_and_refuses_what_has_no_effect(url: str, name: str) -> None:
    model = YOLO(WEIGHTS)

    with Client(url, model=name, timeout_s=30) as client:
        for image in IMAGES:
            found = client.detect(cv2.imencode(".png", image)[1].tobytes(), conf=0.1)
            (theirs,) = model.predict(image, conf=0.1, nms=False, imgsz=160, rect=False, verbose=False)
            assert len(found) == len(theirs.boxes) > 0
            np.testing.assert_allclose(found.confidence, theirs.boxes.conf, atol=1e-4)
            np.testing.assert_allclose(found.xyxy, theirs.boxes.xyxy, atol=0.05)
        assert client.info().head == "one-to-one"
        with pytest.raises(InvalidParameterError, match="--head one2many"):
            client.detect(cv2.imencode(".png", IMAGES[0])[1].tobytes(), iou=0.5)


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated:FutureWarning")
def test_a_torchscript_file_of_ultralytics_answers_as_predict_with_it(url: str, given: dict[str, Path]) -> None:
    model = YOLO(given["given-one2many"], task="detect")

    with Client(url, model="given-one2many", timeout_s=30) as client:
        for image in IMAGES:
            found = client.detect(cv2.imencode(".png", image)[1].tobytes(), conf=0.1, iou=0.6)
            (theirs,) = model.predict(image, conf=0.1, iou=0.6, imgsz=160, rect=False, verbose=False)
            assert len(found) == len(theirs.boxes) > 0
            np.testing.assert_allclose(found.confidence, theirs.boxes.conf, atol=1e-4)
            np.testing.assert_allclose(found.xyxy, theirs.boxes.xyxy, atol=0.05)
        assert client.info().head == "one-to-many"


@pytest.mark.parametrize("name", FP16)
def test_fp16_finds_the_same_objects(url: str, name: str) -> None:
    for image in IMAGES:
        asked = cv2.imencode(".png", image)[1].tobytes()
        with Client(url, model="chosen", timeout_s=30) as fp32, Client(url, model=name, timeout_s=30) as fp16:
            expected, found = (client.detect(asked, conf=0.25) for client in (fp32, fp16))
            assert fp16.info().precision == "fp16"
        assert len(found) == len(expected) > 0
        partner = np.abs(found.xyxy[:, None] - expected.xyxy).max(axis=2).argmin(axis=1)  # equal scores change places
        assert sorted(partner) == list(range(len(expected)))
        np.testing.assert_array_equal(found.class_id, expected.class_id[partner])
        np.testing.assert_allclose(found.confidence, expected.confidence[partner], rtol=0, atol=0.01)
        np.testing.assert_allclose(found.xyxy, expected.xyxy[partner], rtol=0, atol=1.0)
        assert not np.array_equal(found.confidence, expected.confidence[partner])
