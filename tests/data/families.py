# SPDX-License-Identifier: Apache-2.0
"""Architectures of very small networks of each family, and such networks with random weights.

Random networks find nothing that is there, but they compute all that their families compute, and output objects of all
scores. So they show whether two ways of computing them agree, and not how accurate they are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import ultralytics
from ultralytics.models import YOLO
from ultralytics.utils import YAML

from tests.data.shapes import KEYPOINTS, LABELS, ShapeTask, scene

IMGSZ = 160
SUFFIXES: dict[ShapeTask, str] = {"detect": "", "segment": "-seg", "pose": "-pose", "obb": "-obb", "classify": "-cls"}
FOLDERS = {"yolov8": "v8", "yolov10": "v10", "yolo11": "11", "yolo12": "12", "yolo26": "26"}
_WIDTHS = {"yolo12": 0.25}
"""YOLO12's attention needs multiples of 32 channels; the others take half of n's width."""
_SCENES = range(70_000, 70_016)
_SCORE_BIAS = -2.0
"""With this bias, scores spread from nearly 0 to above 0.5."""
_LEAST_VARIANCE = 0.02
"""A channel that hardly varies would amplify the rounding of float32 by orders of magnitude."""


def random_checkpoint(folder: Path, family: str, task: ShapeTask, *, seed: int = 0) -> Path:
    """Write a checkpoint of a family, such as ``yolo26``, as Ultralytics writes them; return its path.

    The statistics of BatchNorm are measured on scenes of shapes, so that the outputs depend on the image.
    """
    torch.manual_seed(seed)
    architecture = write_architecture(folder, family, task, scale=[0.33, _WIDTHS.get(family, 0.125), 1024])
    module: Any = YOLO(architecture, task=task).model
    module.names = dict(enumerate(LABELS))
    module.args = {"task": task, "imgsz": IMGSZ}
    module.yaml["yaml_file"] = architecture.name
    _measure_statistics(module)
    _spread_scores(module)
    path = folder / f"{family}-{task}.pt"
    content = {"epoch": -1, "model": module.eval(), "train_args": module.args, "version": ultralytics.__version__}
    torch.save(content, path)
    return path


def write_architecture(folder: Path, family: str, task: ShapeTask, *, scale: list[float]) -> Path:
    """Write a family's architecture file for ``task``, with our classes and keypoints; return its path.

    Args:
        folder: Gets the file.
        family: One of `FOLDERS`.
        task: What its head is for.
        scale: Depth, width, most channels.
    """
    suffix = SUFFIXES[task]
    packaged = f"{family}n.yaml" if family == "yolov10" else f"{family}{suffix}.yaml"
    models = Path(ultralytics.__file__).parent / "cfg" / "models"
    architecture = YAML.load(models / FOLDERS[family] / packaged)  # type: ignore[no-untyped-call]  # theirs
    architecture |= {"nc": len(LABELS), "scales": {"n": scale}}
    if task == "pose":
        architecture["kpt_shape"] = [len(KEYPOINTS), 3]
    path = folder / f"{family}n{suffix}.yaml"
    path.write_text(json.dumps(architecture))  # JSON is YAML
    return path


def _measure_statistics(module: Any) -> None:
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.reset_running_stats()
            part.momentum = None  # a cumulative average
    images = torch.stack([torch.from_numpy(scene(seed, "detect").image.copy()).permute(2, 0, 1) for seed in _SCENES])
    with torch.no_grad():
        module.train()(images / 255.0)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 0.03
            part.running_var.clamp_(min=_LEAST_VARIANCE)


def _spread_scores(module: Any) -> None:
    head = module.model[-1]
    for name in ("cv3", "one2one_cv3"):
        for branch in getattr(head, name, None) or ():
            torch.nn.init.normal_(branch[-1].weight, std=0.3)
            torch.nn.init.constant_(branch[-1].bias, _SCORE_BIAS)
