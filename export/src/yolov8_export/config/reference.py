# SPDX-License-Identifier: AGPL-3.0-or-later
"""Write the reference deployments, which are committed in `model_repository/` and `model_repository_gpu/`.

Export writes the same configurations for any yolov8n trained on COCO, so they can be read, reviewed and tested without
weights. The class names are read from the committed ensemble, since they are stored nowhere else.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.image_header import ImageLimits
from yolov8_contract.served_model import ServedModel
from yolov8_contract.signature import Head
from yolov8_contract.task import Task
from yolov8_export.choices import Profile
from yolov8_export.config.deployment import deployment_from, sensible_queue_timeout_s
from yolov8_export.config.files import CONFIG, as_json, read_config, render
from yolov8_export.config.members import ServedModelSpec
from yolov8_export.config.served import as_served
from yolov8_export.model_code import DALI, SETTINGS_FILE, dali_settings

NAME = "yolov8n"
FAMILY = "YOLOv8"
IMGSZ = (640, 640)
STRIDES = (8, 16, 32)
PARAMETERS = 3_151_904
"""The number of yolov8n's weights."""


def reference_configs(labels: tuple[str, ...], profile: Profile = "cpu") -> dict[str, pb.ModelConfig]:
    """Return the configurations that export writes for a yolov8n of these classes with the default options."""
    deployment = deployment_from(profile)
    timeout_s = sensible_queue_timeout_s(PARAMETERS, IMGSZ, deployment.device)
    deployment = replace(deployment, queue_timeout_s=timeout_s)
    model = as_served(ServedModel(task=Task.DETECT, labels=labels, imgsz=IMGSZ, family=FAMILY), deployment)
    anchors = sum((IMGSZ[0] // stride) * (IMGSZ[1] // stride) for stride in STRIDES)
    head: Head = ((4 + model.score_rows, anchors),)
    spec = ServedModelSpec(name=NAME, model=model, head=head, stride=max(STRIDES), deployment=deployment)
    return spec.configs()


def committed_labels(repository: Path) -> tuple[str, ...]:
    """Return the class names of the ensemble in ``repository``."""
    return ServedModel.from_config(as_json(read_config(repository / NAME / CONFIG))).labels


def write_reference(repository: Path, profile: Profile = "cpu", labels: tuple[str, ...] | None = None) -> list[Path]:
    """Write the reference deployment of a profile; return the paths of its configurations.

    Args:
        repository: The folder to write into.
        profile: The profile of the deployment.
        labels: The class names; None for those of the ensemble in the repository.
    """
    paths = []
    for name, config in reference_configs(labels or committed_labels(repository), profile).items():
        path = repository / name / CONFIG
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(config), encoding="utf-8")
        paths.append(path)
        if config.backend == DALI:
            served = ServedModel(task=Task.DETECT, labels=labels or committed_labels(repository), imgsz=IMGSZ)
            settings = dali_settings(as_served(served, deployment_from(profile)), ImageLimits(), config)
            (path.parent / "1" / SETTINGS_FILE).write_text(settings, encoding="utf-8")
    return paths
