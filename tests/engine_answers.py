# SPDX-License-Identifier: Apache-2.0
"""Compare the answers of two engines that run the same weights."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import tritonclient.grpc as triton

from tests.data import shapes
from tests.raw_request import executions
from yolov8_triton import Client

SEEDS = range(97_000, 97_004)


def asked(url: str, model: str, task: str) -> list[Any]:
    """Ask for all scenes at once, so that the network gets batches."""
    images = [cv2.imencode(".png", shapes.scene(seed, task, size=(200, 333)).image)[1].tobytes() for seed in SEEDS]  # type: ignore[arg-type]
    with Client(url, model=model, timeout_s=60) as client, ThreadPoolExecutor(len(images)) as pool:
        return list(pool.map(getattr(client, task), images))


def assert_same_found(url: str, model: str, other_model: str, task: str) -> None:
    for mine, other in zip(asked(url, model, task), asked(url, other_model, task), strict=True):
        if task == "classify":
            np.testing.assert_allclose(mine.scores, other.scores, rtol=0, atol=1e-4)
            continue
        assert len(mine) == len(other) > 0
        np.testing.assert_array_equal(mine.class_id, other.class_id)
        np.testing.assert_allclose(mine.confidence, other.confidence, rtol=0, atol=1e-4)
        np.testing.assert_allclose(mine.xyxy, other.xyxy, rtol=0, atol=0.02)
        if task == "segment":
            assert (mine.mask != other.mask).mean() < 1e-4
        if task == "pose":
            np.testing.assert_allclose(mine.keypoints, other.keypoints, rtol=0, atol=0.02)


def assert_batched(url: str, model: str) -> None:
    asked(url, model, "pose")

    with triton.InferenceServerClient(url) as client:
        images, runs = executions(client, f"{model}_network")
    assert runs < images
