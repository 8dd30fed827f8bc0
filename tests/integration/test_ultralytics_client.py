# SPDX-License-Identifier: Apache-2.0
"""Ultralytics' own client works on the bare network, with the right names, and finds what ours finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException
from ultralytics import YOLO

from tests.data import shapes
from yolov8_server import TritonServer
from yolov8_triton import Client

SEEDS = range(95_000, 95_004)


def theirs(result: Any) -> list[Any]:
    """Return scores, classes and geometry of an Ultralytics result."""
    if result.probs is not None:
        return [result.probs.data.numpy()]
    boxes = result.obb if result.obb is not None else result.boxes
    arrays = [boxes.conf.numpy(), boxes.cls.numpy(), boxes.xyxy.numpy()]
    if result.obb is not None:
        arrays.append(boxes.xyxyxyxy.numpy())
    if result.masks is not None:
        arrays.append(result.masks.data.numpy())
    if result.keypoints is not None:
        arrays.append(result.keypoints.data.numpy())
    return arrays


def ours(result: Any) -> list[Any]:
    """Return the same of one of our results."""
    if hasattr(result, "scores"):
        return [result.scores]
    further = [getattr(result, name) for name in ("xyxyxyxy", "mask", "keypoints") if hasattr(result, name)]
    return [result.confidence, result.class_id, result.xyxy, *further]


@pytest.mark.parametrize("task", shapes.TASKS)
def test_it_finds_the_same_through_the_bare_network(fp32_server: TritonServer, task: shapes.ShapeTask) -> None:
    remote = YOLO(f"grpc://{fp32_server.grpc_url}/shapes-{task}_network", task=task)

    with Client(fp32_server.grpc_url, model=f"shapes-{task}", array_format="bmp") as client:
        for seed in SEEDS:
            image = shapes.scene(seed, task, size=(200, 333)).image
            (found,) = remote.predict(image, rect=False, retina_masks=True, verbose=False)
            expected = getattr(client, task)(image, channels="BGR")

            assert list(found.names.values()) == list(shapes.LABELS)
            for mine, other in zip(ours(expected), theirs(found), strict=True):
                np.testing.assert_allclose(mine, other, rtol=1e-4, atol=0.05)


def test_a_network_that_takes_bytes_refuses_it(server: TritonServer) -> None:
    """Its pixels from 0 to 1 would all be cast to 0 or 1."""
    remote = YOLO(f"grpc://{server.grpc_url}/shapes-detect_network", task="detect")

    with pytest.raises(InferenceServerException, match=r"unexpected shape for input 'images'"):
        remote.predict(shapes.scene(SEEDS[0], "detect").image, rect=False, verbose=False)
