# SPDX-License-Identifier: Apache-2.0
"""YOLO11, YOLO12, YOLO26 and YOLOv10, each task and head, against Ultralytics' predict.

No weights of these families are at hand. Networks with random weights compute all that theirs would, and give objects
of all scores, so they show the same arithmetic, and say nothing about accuracy. The images go through the code of the
composing models and through ONNX Runtime, without a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
from ultralytics import YOLO
from ultralytics.utils.ops import xywhr2xyxyxyxy

from tests.data.families import IMGSZ, random_checkpoint
from tests.data.shapes import ShapeTask, scene
from tests.parity.matching import Comparison, compared
from tests.parity.reference import arrays, predict
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.task import Task
from yolov8_export.graph.batch import servable_network
from yolov8_export.graph.network import Network
from yolov8_export.graph.verify import verify
from yolov8_export.overrides import ModelOverrides
from yolov8_export.precision.images import pictures
from yolov8_export.precision.objects import find_objects
from yolov8_export.progress import Progress
from yolov8_export.runtime import onnx_runner
from yolov8_export.source.checkpoint import read_checkpoint

Arrays = dict[str, Any]

TASKS: tuple[ShapeTask, ...] = ("detect", "segment", "pose", "obb")
CASES = [
    *(("yolo11", task, "one2many") for task in TASKS),
    *(("yolo12", task, "one2many") for task in TASKS),
    *(("yolov10", "detect", head) for head in ("one2many", "one2one")),
    *(("yolo26", task, head) for task in TASKS for head in ("one2many", "one2one")),
]
SETTINGS: list[Arrays] = [
    {"conf": 0.25, "iou": 0.7, "max_det": 300},
    {"conf": 0.05, "iou": 0.6, "max_det": 60, "classes": [0, 2]},
]
SEED = 2
"""Some seeds give networks that amplify rounding, so that the ONNX network differs from its own checkpoint."""
SIZES = ((160, 160), (97, 300), (333, 210), (480, 360))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Scenes of many sizes."""
    folder = tmp_path_factory.mktemp("families")
    paths = [folder / f"scene-{index}.png" for index in range(len(SIZES))]
    for index, (path, size) in enumerate(zip(paths, SIZES, strict=True)):
        cv2.imwrite(str(path), scene(60_000 + index, "detect", size=size).image)
    return paths


@pytest.mark.parametrize(("family", "task", "head"), CASES)
def test_other_families_give_what_predict_gives(
    family: str, task: ShapeTask, head: str, asked: list[Path], table: Any, tmp_path: Path
) -> None:
    weights = random_checkpoint(tmp_path, family, task, seed=SEED)
    network = exported(weights, head if family in ("yolov10", "yolo26") else None)
    total, model = Comparison(), YOLO(weights)
    for setting in SETTINGS:
        theirs = reference(model, asked, setting | ({"nms": False} if head == "one2one" else {}))
        found = compared(asked, served(network, asked, setting), theirs, setting, IMGSZ)
        total.pairs += found.pairs
        total.borderline += found.borderline
        total.unmatched += found.unmatched
        for name, value in found.worst.items():
            total.note(name, value)
    worst = ", ".join(f"{name} {value:.1e}" for name, value in sorted(total.worst.items()))
    counts = (str(total.objects), str(total.pairs), str(len(total.borderline)))
    table.append(("onnxruntime", f"{family} {task}", head, str(len(asked)), *counts, worst))
    assert total.objects > 10 * len(asked)
    assert total.holds, "\n".join(total.unmatched[:20] or total.borderline)


def exported(weights: Path, head: Any) -> Network:
    """Return the network that export would write, compared with the checkpoint."""
    original = read_checkpoint(weights, ModelOverrides(head=head), 18, Progress(), lambda _model: None)
    network = servable_network(original)
    verify(onnx_runner(network.onnx, called="the network"), original.run, network.model, against="checkpoint")
    return network


def served(network: Network, asked: Sequence[Path], setting: Arrays) -> list[Arrays]:
    """Return what the composing models answer."""
    parameters = RequestParameters(
        **(setting | {"classes": tuple(setting["classes"]) if "classes" in setting else None})
    )
    run = onnx_runner(network.onnx, called="the network")
    find = partial(find_objects, network.model, parameters=parameters)
    return [as_arrays(network, find(picture, run(picture.images))) for picture in pictures(asked, network.model)]


def as_arrays(network: Network, objects: Any) -> Arrays:
    found = {"orig_shape": objects.shape, "confidence": objects.scores, "class_id": objects.classes}
    if network.model.task is Task.OBB:
        return found | {"xywhr": objects.boxes, "corners": xywhr2xyxyxyxy(torch.from_numpy(objects.boxes)).numpy()}
    found["xyxy"] = objects.boxes
    if network.model.task is Task.POSE:
        found["keypoints"] = objects.keypoints
    if network.model.task is Task.SEGMENT:
        found["masks"] = [mask["counts"] for mask in objects.masks]
    return found


def reference(model: YOLO, asked: Sequence[Path], setting: Arrays) -> list[Arrays]:
    """Return what Ultralytics' predict gives."""
    return [arrays(predict(model, str(image), setting, "cpu").cpu()) for image in asked]
