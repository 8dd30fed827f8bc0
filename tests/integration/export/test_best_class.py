# SPDX-License-Identifier: Apache-2.0
"""A served network of few bytes, the default, gives the same answers to the bit as one of planes and all scores."""

from __future__ import annotations

import itertools
from typing import Any

import cv2
import numpy as np
import pytest
import tritonclient.grpc as triton

from tests.data import shapes
from tests.raw_request import image_input
from yolov8_contract import signature
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_server import TritonServer

TASKS = [Task.DETECT, Task.SEGMENT, Task.POSE, Task.OBB]
REQUESTS: list[dict[str, Any]] = [
    {"conf": conf, "iou": iou, **more}
    for conf, iou, more in itertools.product(
        (0.001, 0.25, 0.8), (0.3, 0.7), ({}, {"classes": "0,2"}, {"agnostic": True}, {"max_det": 2})
    )
]


def picture(task: Task, seed: int) -> Any:
    image = shapes.scene(92_000 + seed, task.value, size=(130 + 20 * seed, 170)).image
    return image_input(cv2.imencode(".jpg", image)[1].tobytes())


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.value)
def test_every_request_is_answered_to_the_bit_as_with_all_classes(
    task: Task, server: TritonServer, fp32_server: TritonServer
) -> None:
    model = ServedModel(
        task=task, labels=shapes.LABELS, imgsz=(160, 160), kpt_shape=(2, 3) if task is Task.POSE else None
    )
    names = [spec.name for spec in signature.ensemble(model).outputs]
    found = 0
    with (
        triton.InferenceServerClient(fp32_server.grpc_url) as all_classes,
        triton.InferenceServerClient(server.grpc_url) as best_class,
    ):
        for seed, parameters in itertools.product(range(2), REQUESTS):
            image = picture(task, seed)

            expected, best = (
                client.infer(f"shapes-{task.value}", [image], parameters=parameters, client_timeout=60)
                for client in (all_classes, best_class)
            )

            found += int(expected.as_numpy("num_detections").sum())
            for name in names:
                np.testing.assert_array_equal(
                    best.as_numpy(name), expected.as_numpy(name), err_msg=f"{name} of {parameters}"
                )
    assert found > len(REQUESTS)
