# SPDX-License-Identifier: AGPL-3.0-or-later
"""Networks of YOLO26 that choose their objects themselves are served as Ultralytics' predict answers with them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from ultralytics import YOLO

from tests.data import shapes
from tests.data.figures import weights_path
from yolov8_export.checks.repository import check
from yolov8_export.config.deployment import Deployment
from yolov8_export.overrides import ModelOverrides
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer
from yolov8_triton import Client, InvalidParameterError

SIZES = [(160, 160), (120, 333), (300, 210)]
IMAGES = [shapes.scene(61_000 + seed, "detect", size=size).image for seed, size in enumerate(SIZES)]


def test_a_real_server_answers_as_predict_and_refuses_what_has_no_effect(tmp_path: Path) -> None:
    weights = weights_path("detect", "yolo26")
    repository = tmp_path / "repository"
    export(
        weights,
        Target(repository=repository, name="chosen"),
        overrides=ModelOverrides(head="one2one"),
        deployment=Deployment(instances=1),
    )
    assert check(repository).findings == ()
    model = YOLO(weights)

    with TritonServer(repository) as server, Client(server.grpc_url, model="chosen", timeout_s=30) as client:
        for image in IMAGES:
            found = client.detect(cv2.imencode(".png", image)[1].tobytes(), conf=0.1)
            (theirs,) = model.predict(image, conf=0.1, nms=False, imgsz=160, rect=False, verbose=False)
            assert len(found) == len(theirs.boxes) > 0
            np.testing.assert_allclose(found.confidence, theirs.boxes.conf, atol=1e-4)
            np.testing.assert_allclose(found.xyxy, theirs.boxes.xyxy, atol=0.05)
        assert client.info().head == "one-to-one"
        with pytest.raises(InvalidParameterError, match="--head one2many"):
            client.detect(cv2.imencode(".png", IMAGES[0])[1].tobytes(), iou=0.5)
