# SPDX-License-Identifier: Apache-2.0
"""YOLO11, YOLO12, YOLO26 and YOLOv10, each task and head, against Ultralytics' predict.

Where the repository has no weights of a family that were trained on scenes of shapes, random ones take their place.
They give objects of all scores, so they show the same arithmetic, and say nothing about accuracy. The images go through
the code of the composing models and through ONNX Runtime, without a server.
"""

from __future__ import annotations

import shutil
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
from tests.data.figures import read_figures, weights_path
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
from yolov8_export.source.onnx_file import read_onnx

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
TRAINED_SCENES = 24
"""A trained network finds the few shapes that a scene has."""


@pytest.mark.parametrize(("family", "task", "head"), CASES)
def test_other_families_give_what_predict_gives(
    family: str, task: ShapeTask, head: str, table: Any, tmp_path: Path
) -> None:
    trained = (family, task) in read_figures()
    weights = weights_path(task, family) if trained else random_checkpoint(tmp_path, family, task, seed=SEED)
    asked = images(tmp_path, task if trained else "detect", TRAINED_SCENES if trained else len(SIZES))
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
    table.append(
        ("onnxruntime", f"{family} {task}, {'trained' if trained else 'random'}", head, str(len(asked)), *counts, worst)
    )
    assert total.objects > (4 if trained else 10) * len(asked)
    assert total.holds, "\n".join(total.unmatched[:20] or total.borderline)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Ultralytics uses torch's older exporter
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_file_that_ultralytics_wrote_with_nms_gives_what_predict_gives_with_it(table: Any, tmp_path: Path) -> None:
    weights = shutil.copy(weights_path("pose"), tmp_path / "pose.pt")
    file = Path(YOLO(weights).export(format="onnx", nms=True, simplify=False, imgsz=IMGSZ, verbose=False))
    network = servable_network(read_onnx(file, ModelOverrides(), Progress(), lambda _model: None))
    asked = images(tmp_path, "pose", TRAINED_SCENES)
    setting = {"conf": 0.3, "iou": 0.7, "max_det": 300}

    found = compared(asked, served(network, asked, setting), reference(YOLO(file), asked, setting), setting, IMGSZ)

    worst = ", ".join(f"{name} {value:.1e}" for name, value in sorted(found.worst.items()))
    counts = (str(found.objects), str(found.pairs), str(len(found.borderline)))
    table.append(("onnxruntime", "yolov8 pose, trained", "nms=True", str(len(asked)), *counts, worst))
    assert found.objects > 2 * len(asked)
    assert found.holds, "\n".join(found.unmatched[:20] or found.borderline)


def images(folder: Path, task: ShapeTask, count: int) -> list[Path]:
    """Write scenes of many sizes."""
    paths = [folder / f"scene-{index}.png" for index in range(count)]
    for index, path in enumerate(paths):
        cv2.imwrite(str(path), scene(60_000 + index, task, size=SIZES[index % len(SIZES)]).image)
    return paths


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
