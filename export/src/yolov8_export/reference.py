# SPDX-License-Identifier: AGPL-3.0-or-later
"""The reference deployment: the configurations that are committed in `model_repository/`.

They are what `export` writes for any yolov8n trained on COCO, so they can be read, reviewed and tested without
weights. Only the class names stand nowhere else; they are read from the committed ensemble.
"""

from __future__ import annotations

from pathlib import Path

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.served_model import ServedModel
from yolov8_contract.signature import Head
from yolov8_contract.task import Task
from yolov8_export.config import served_configs
from yolov8_export.deployment import Deployment
from yolov8_export.pbtxt import CONFIG, as_json, read_config, render

NAME = "yolov8n"
IMGSZ = (640, 640)
STRIDES = (8, 16, 32)


def reference_configs(labels: tuple[str, ...]) -> dict[str, pb.ModelConfig]:
    """Return the configurations that export writes for a yolov8n of these classes, all options at their defaults."""
    model = ServedModel(task=Task.DETECT, labels=labels, imgsz=IMGSZ)
    anchors = sum((IMGSZ[0] // stride) * (IMGSZ[1] // stride) for stride in STRIDES)
    head: Head = ((4 + len(labels), anchors),)
    return served_configs(NAME, model, head, stride=max(STRIDES), deployment=Deployment())


def committed_labels(repository: Path) -> tuple[str, ...]:
    """Return the class names of the ensemble in ``repository``."""
    return ServedModel.from_config(as_json(read_config(repository / NAME / CONFIG))).labels


def write_reference(repository: Path) -> list[Path]:
    """Write the reference deployment's configurations anew; return their paths."""
    paths = []
    for name, config in reference_configs(committed_labels(repository)).items():
        path = repository / name / CONFIG
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(config), encoding="utf-8")
        paths.append(path)
    return paths
