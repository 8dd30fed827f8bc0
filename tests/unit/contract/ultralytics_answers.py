# SPDX-License-Identifier: Apache-2.0
"""What Ultralytics' own predictors make of raw outputs; nothing of this project's arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torchvision  # noqa: F401  (Ultralytics takes its suppression where it is imported, as during predict)
from ultralytics.models.yolo.detect import DetectionPredictor
from ultralytics.models.yolo.obb import OBBPredictor
from ultralytics.models.yolo.pose import PosePredictor
from ultralytics.models.yolo.segment import SegmentationPredictor

from yolov8_contract.parameters import RequestParameters
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task

_PREDICTORS = {
    Task.DETECT: DetectionPredictor,
    Task.SEGMENT: SegmentationPredictor,
    Task.POSE: PosePredictor,
    Task.OBB: OBBPredictor,
}


def answer(
    model: ServedModel,
    head: Sequence[npt.NDArray[np.float32]],
    orig_shape: tuple[int, int],
    parameters: RequestParameters,
) -> dict[str, npt.NDArray[Any]]:
    """Return boxes, scores, classes (, masks as ``(n, h, w)``, or keypoints) of one image."""
    predictor = _PREDICTORS[model.task].__new__(_PREDICTORS[model.task])  # its constructor would want weights
    predictor.args = SimpleNamespace(
        task=model.task.value,
        conf=parameters.conf,
        iou=parameters.iou,
        classes=None if parameters.classes is None else list(parameters.classes),
        agnostic_nms=parameters.agnostic,
        max_det=parameters.max_det,
        retina_masks=True,
    )
    predictor.model = SimpleNamespace(names=dict(enumerate(model.labels)), kpt_shape=model.kpt_shape)
    predictor.batch = (["image.jpg"],)
    raw = [torch.tensor(output[np.newaxis]) for output in head]
    image = torch.empty(1, 3, *model.imgsz)
    original = np.empty((*orig_shape, 3), np.uint8)
    (result,) = predictor.postprocess(raw if len(raw) > 1 else raw[0], image, [original])
    return arrays(model.task, result)


def arrays(task: Task, result: Any) -> dict[str, npt.NDArray[Any]]:
    """Return the same of Ultralytics' ``Results``."""
    boxes = result.obb if task is Task.OBB else result.boxes
    found = {
        "detection_boxes": (boxes.xywhr if task is Task.OBB else boxes.xyxy).numpy(),
        "detection_scores": boxes.conf.numpy(),
        "detection_classes": boxes.cls.numpy(),
    }
    if task is Task.SEGMENT:
        empty = np.empty((0, *result.orig_shape), bool)
        found["masks"] = empty if result.masks is None else result.masks.data.numpy().astype(bool)
    if task is Task.POSE:
        found["detection_keypoints"] = result.keypoints.data.numpy()
    return found
