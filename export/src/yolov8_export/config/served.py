# SPDX-License-Identifier: AGPL-3.0-or-later
"""Tell how a model is served by a deployment: the tensors between its composing models."""

from __future__ import annotations

from dataclasses import replace

from yolov8_contract.errors import ConfigError
from yolov8_contract.served_model import (
    CPU_IMAGE_FORMATS,
    END2END,
    GPU_IMAGE_FORMATS,
    MIN_CLASSES_TO_REDUCE,
    ServedModel,
)
from yolov8_contract.task import Task
from yolov8_export.choices import REDUCIBLE_OPSET
from yolov8_export.config.deployment import Deployment
from yolov8_export.errors import OptionError


def as_served(
    model: ServedModel, deployment: Deployment, opset: int = REDUCIBLE_OPSET, *, given_input: str | None = None
) -> ServedModel:
    """Return a model with what its deployment adds: the image formats, and the tensors between composing models.

    Args:
        model: The model.
        deployment: The settings with which it is served.
        opset: The opset version of its network; where it is unknown, a new one.
        given_input: The tensor before a network that is served as it was given.

    Raises:
        OptionError: The model can't be served with this deployment.
    """
    formats = GPU_IMAGE_FORMATS if deployment.preprocess == "dali" else CPU_IMAGE_FORMATS
    output: str = deployment.network_output
    if not model.has_nms:
        output = _check_end_to_end(deployment)
    elif output == "auto":
        has_best_class = model.task is not Task.CLASSIFY and len(model.labels) >= MIN_CLASSES_TO_REDUCE
        is_reducible = has_best_class and opset >= REDUCIBLE_OPSET and not deployment.keeps_files
        output = "best-class" if is_reducible else "raw"
    try:
        return replace(
            model,
            image_formats=formats,
            network_input=given_input or _network_input(deployment),
            network_output=output,
            priority_levels=deployment.priority_levels,
            max_slices=deployment.max_slices,
            timings=deployment.timings,
            engine=deployment.engine,
            precision=(model.precision if deployment.precision == "fp32" else None) or deployment.precision,
        )
    except ConfigError as exc:
        message = str(exc).replace("network_output", "--network-output").replace("max_slices", "--max-slices")
        raise OptionError(message) from exc


def _check_end_to_end(deployment: Deployment) -> str:
    """Return the output of an end-to-end network, whose objects can't be reduced further."""
    for is_violated, option in (
        (deployment.network_output not in ("raw", "auto"), f"--network-output {deployment.network_output}"),
        (deployment.precision == "int8", "--precision int8"),
    ):
        if is_violated:
            raise OptionError(
                f"{option} is not possible with an end-to-end network, which outputs its chosen objects: leave it out, "
                "or export the checkpoint with --head one2many"
            )
    return END2END


def _network_input(deployment: Deployment) -> str:
    """Return the tensor between preprocess and network; TensorFlow's convolutions take channels last."""
    chosen = deployment.network_input
    if chosen == "auto":
        chosen = "fp32" if deployment.keeps_files else "uint8"
    return "fp32-nhwc" if (deployment.engine, chosen) == ("tensorflow", "fp32") else chosen
