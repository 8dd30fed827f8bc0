# SPDX-License-Identifier: Apache-2.0
"""Checkpoints as Ultralytics writes them, of any architecture, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from ultralytics.nn import tasks

MODELS = {
    "": tasks.DetectionModel,
    "-seg": tasks.SegmentationModel,
    "-pose": tasks.PoseModel,
    "-obb": tasks.OBBModel,
    "-cls": tasks.ClassificationModel,
    "rtdetr": tasks.RTDETRDetectionModel,
    "world": tasks.WorldModel,
    "yoloe": tasks.YOLOEModel,
}
IMGSZ = 64
NARROW = {"scales": {"n": [0.33, 0.0625, 1024]}}
"""Depth, width and largest width: a quarter of a nano model's channels, so that tests take milliseconds."""


def write_checkpoint(
    path: Path,
    architecture: str,
    *,
    names: tuple[str, ...] | None = None,
    imgsz: int = IMGSZ,
    channels: int = 3,
    content: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write a checkpoint.

    Args:
        path: Where.
        architecture: One of Ultralytics' model files, such as ``yolov8n-seg.yaml``.
        names: Class names; numbers by default.
        imgsz: What it says it was trained at, in pixels.
        channels: The channels of the network's input.
        content: Added to the checkpoint.
        changes: Entries of the model file to change; the sizes of a nano YOLOv8 are `NARROW` unless said otherwise.
    """
    torch.manual_seed(0)
    description = tasks.yaml_model_load(architecture)
    description |= (NARROW if architecture.startswith("yolov8n") else {}) | changes
    classes = len(names) if names else None
    model = model_class(architecture)(description, ch=channels, nc=classes, verbose=False)
    if names:
        model.names = dict(enumerate(names))
    checkpoint = {"epoch": -1, "model": model.half(), "train_args": {"imgsz": imgsz}, "version": "8.4.190"}
    torch.save(checkpoint | (content or {}), path)
    return path


def model_class(architecture: str) -> Any:
    """Return the class that Ultralytics builds an architecture with."""
    matching = [part for part in MODELS if part in architecture]
    return MODELS[max(matching, key=len)]
