# SPDX-License-Identifier: AGPL-3.0-or-later
"""The reference deployments: the configurations that are committed in `model_repository/` and `model_repository_gpu/`.

They are what `export` writes for any yolov8n trained on COCO, so they can be read, reviewed and tested without
weights. Only the class names stand nowhere else; they are read from the committed ensemble.
"""

from __future__ import annotations

from pathlib import Path

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.image_header import ImageLimits
from yolov8_contract.served_model import ServedModel
from yolov8_contract.signature import Head
from yolov8_contract.task import Task
from yolov8_export.config.deployment import as_served, deployment_from
from yolov8_export.config.files import CONFIG, as_json, read_config, render
from yolov8_export.config.members import served_configs
from yolov8_export.model_code import DALI, SETTINGS_FILE, dali_settings

NAME = "yolov8n"
IMGSZ = (640, 640)
STRIDES = (8, 16, 32)


def reference_configs(labels: tuple[str, ...], profile: str = "cpu") -> dict[str, pb.ModelConfig]:
    """Return the configurations that export writes for a yolov8n of these classes, all options at their defaults."""
    deployment = deployment_from(profile)
    model = as_served(ServedModel(task=Task.DETECT, labels=labels, imgsz=IMGSZ), deployment)
    anchors = sum((IMGSZ[0] // stride) * (IMGSZ[1] // stride) for stride in STRIDES)
    head: Head = ((4 + len(labels), anchors),)
    return served_configs(NAME, model, head, stride=max(STRIDES), deployment=deployment)


def committed_labels(repository: Path) -> tuple[str, ...]:
    """Return the class names of the ensemble in ``repository``."""
    return ServedModel.from_config(as_json(read_config(repository / NAME / CONFIG))).labels


def write_reference(repository: Path, profile: str = "cpu", labels: tuple[str, ...] | None = None) -> list[Path]:
    """Write a profile's reference deployment anew; return the paths of its configurations.

    Args:
        repository: Where it goes.
        profile: Of the deployment.
        labels: Class names; None for those of the ensemble that is there.
    """
    paths = []
    for name, config in reference_configs(labels or committed_labels(repository), profile).items():
        path = repository / name / CONFIG
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(config), encoding="utf-8")
        paths.append(path)
        if config.backend == DALI:
            model = ServedModel(task=Task.DETECT, labels=("any",), imgsz=IMGSZ)
            settings = dali_settings(model, ImageLimits(), config.max_batch_size)
            (path.parent / "1" / SETTINGS_FILE).write_text(settings, encoding="utf-8")
    return paths
