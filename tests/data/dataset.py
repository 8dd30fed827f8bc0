# SPDX-License-Identifier: Apache-2.0
"""Write scenes of shapes as a dataset that Ultralytics reads."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from tests.data.shapes import KEYPOINTS, LABELS, Points, Scene, Shape, ShapeTask, scene

SIDE_RANGE = (120, 320)
KEYPOINT_SIGMA = 0.1
"""Tolerance of a keypoint, as a share of the object; COCO's lie between 0.026 and 0.107."""


def write_dataset(root: Path, task: ShapeTask, *, train: Iterable[int], val: Iterable[int]) -> Path:
    """Write the scenes of the seeds below ``root``; return what Ultralytics takes as ``data``."""
    for split, seeds in (("train", train), ("val", val)):
        for seed in seeds:
            drawn = dataset_scene(seed, task)
            if task == "classify":
                _write_image(root / split / LABELS[drawn.shapes[0].class_id] / f"{seed}.png", drawn)
            else:
                _write_image(root / "images" / split / f"{seed}.png", drawn)
                _write_labels(root / "labels" / split / f"{seed}.txt", task, drawn)
    return root if task == "classify" else _write_description(root, task)


def dataset_scene(seed: int, task: ShapeTask) -> Scene:
    """Draw a scene at a size that depends on its seed: every other one is not square, and has to be letterboxed."""
    if seed % 2 == 0:
        return scene(seed, task)
    height, width = (int(side) for side in np.random.default_rng(seed).integers(*SIDE_RANGE, 2))
    return scene(seed, task, size=(height, width))


def label_line(task: ShapeTask, shape: Shape, size: tuple[int, int]) -> str:
    """Return one line of a YOLO label file: class id and coordinates as shares of the image's ``size``."""
    height, width = size
    scale = np.array([width, height], dtype=np.float64)
    if task in ("segment", "obb"):
        values = _inside((shape.polygon if task == "segment" else shape.corners) / scale).ravel()
    else:
        left_top, right_bottom = shape.xyxy[:2] / scale, shape.xyxy[2:] / scale
        values = np.concatenate([(left_top + right_bottom) / 2, right_bottom - left_top])
    if task == "pose":
        values = np.concatenate([values, (shape.keypoints / [width, height, 1]).ravel()])
    return " ".join([str(shape.class_id), *(f"{value:.6f}" for value in values)])


def _inside(shares: Points) -> Points:
    return shares.clip(0, 1)  # the box around a shape may stick out where the shape doesn't


def _write_image(path: Path, drawn: Scene) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), drawn.image):
        raise OSError(f"{path}: OpenCV could not write the image")


def _write_labels(path: Path, task: ShapeTask, drawn: Scene) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = drawn.image.shape[:2]
    path.write_text("\n".join(label_line(task, shape, (height, width)) for shape in drawn.shapes))


def _write_description(root: Path, task: ShapeTask) -> Path:
    description: dict[str, object] = {
        "path": str(root),
        "train": "images/train",
        "val": "images/val",
        "names": dict(enumerate(LABELS)),
    }
    if task == "pose":
        description |= {
            "kpt_shape": [len(KEYPOINTS), 3],
            "flip_idx": list(range(len(KEYPOINTS))),
            "kpt_oks_sigmas": [KEYPOINT_SIGMA] * len(KEYPOINTS),
        }
    path = root / "data.yaml"
    path.write_text(json.dumps(description, indent=2))  # JSON is YAML
    return path
