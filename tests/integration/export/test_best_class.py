# SPDX-License-Identifier: Apache-2.0
"""A served ``best-class`` network gives the same answers to the bit as a ``raw`` one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
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
from yolov8_export.checks.repository import check
from yolov8_export.config.deployment import Deployment
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer

TASKS = [Task.DETECT, Task.SEGMENT, Task.POSE, Task.OBB]
REQUESTS: list[dict[str, Any]] = [
    {"conf": conf, "iou": iou, **more}
    for conf, iou, more in itertools.product(
        (0.001, 0.25, 0.8), (0.3, 0.7), ({}, {"classes": "0,2"}, {"agnostic": True}, {"max_det": 2})
    )
]


@pytest.fixture(scope="module")
def reduced(fp32_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """Serve the networks of ``fp32_repository``, each made to output the best class alone."""
    folder = tmp_path_factory.mktemp("best-class") / "repository"
    deployment = Deployment(instances=1, network_output="best-class")
    for task in TASKS:
        network = fp32_repository / f"shapes-{task.value}_network" / "1" / "model.onnx"
        export(network, Target(repository=folder, name=f"shapes-{task.value}"), deployment=deployment)
    assert check(folder).findings == ()
    with TritonServer(folder, stop_timeout_s=0) as running:
        yield running


def picture(task: Task, seed: int) -> Any:
    image = shapes.scene(92_000 + seed, task.value, size=(130 + 20 * seed, 170)).image
    return image_input(cv2.imencode(".jpg", image)[1].tobytes())


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.value)
def test_every_request_is_answered_to_the_bit_as_with_all_classes(
    task: Task, server: TritonServer, reduced: TritonServer
) -> None:
    model = ServedModel(
        task=task, labels=shapes.LABELS, imgsz=(160, 160), kpt_shape=(2, 3) if task is Task.POSE else None
    )
    names = [spec.name for spec in signature.ensemble(model).outputs]
    found = 0
    with (
        triton.InferenceServerClient(server.grpc_url) as all_classes,
        triton.InferenceServerClient(reduced.grpc_url) as best_class,
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
