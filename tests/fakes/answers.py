# SPDX-License-Identifier: Apache-2.0
"""Served models of every task, and what one would answer for an image of 100 x 60 pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from yolov8_contract import rle
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task

Arrays = dict[str, npt.NDArray[Any]]

LABELS = ("person", "bus", "stop sign")
KEYPOINTS, VALUES = 17, 3
HEIGHT, WIDTH = 60, 100
SIZE = np.array([[HEIGHT, WIDTH]], np.int32)


def model(task: Task) -> ServedModel:
    """Return a served model of three classes."""
    kpt_shape = (KEYPOINTS, VALUES) if task is Task.POSE else None
    return ServedModel(task=task, labels=LABELS, imgsz=(640, 640), kpt_shape=kpt_shape)


def arrays(task: Task, count: int = 2) -> Arrays:
    """Return the outputs for ``count`` objects: object i is of class i mod 3, with a score of 0.9 - i/1000 or 0."""
    if task is Task.CLASSIFY:
        return {"class_scores": np.array([[0.2, 0.7, 0.1]], np.float32), "orig_shape": SIZE}
    number = np.arange(count, dtype=np.float32)
    answer: Arrays = {
        "num_detections": np.array([[count]], np.int32),
        "detection_boxes": boxes(number)[np.newaxis],
        "detection_scores": np.maximum(0.9 - number / 1000, 0)[np.newaxis].astype(np.float32),
        "detection_classes": (number % len(LABELS))[np.newaxis].astype(np.int32),
        "orig_shape": SIZE,
    }
    if task is Task.OBB:
        centres = np.stack([number + 30, number + 20, number * 0 + 20, number * 0 + 10, number * 0 + np.pi / 2], -1)
        answer["detection_boxes"] = centres[np.newaxis].astype(np.float32)
    if task is Task.SEGMENT:
        answer["detection_masks"] = masks(count)[np.newaxis]
    if task is Task.POSE:
        points = np.zeros((1, count, KEYPOINTS, VALUES), np.float32)
        points[..., 0], points[..., 1], points[..., 2] = 30, np.arange(KEYPOINTS) + 10, 0.9
        points[..., -1, 2] = 0.1
        answer["detection_keypoints"] = points
    return answer


def boxes(number: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return boxes of 20 x 30 pixels, each a tenth of a pixel further right than the last, up to the edge."""
    left = np.minimum(5 + number / 10, WIDTH - 20)
    return np.stack([left, number * 0 + 10, left + 20, number * 0 + 40], axis=-1).astype(np.float32)


def masks(count: int) -> npt.NDArray[np.object_]:
    """Return run-length strings: object i's mask is column i mod 100, from the top down to the middle."""
    half = HEIGHT // 2
    starts = [i % WIDTH * HEIGHT for i in range(count)]
    counts = [np.array([start, half, HEIGHT * WIDTH - start - half]) for start in starts]
    texts = np.empty(count, np.object_)
    texts[:] = rle.encode(counts)
    return texts
