# SPDX-License-Identifier: AGPL-3.0-or-later
"""Export YOLOv8 weights into a Triton model repository, and check, estimate and tune what lies in one.

Importing this package loads neither torch, ultralytics, onnx nor gRPC; the functions load what they need.

Example:
    >>> from pathlib import Path
    >>> from yolov8_export import Deployment, Target, export
    >>> target = Target(repository=Path("build/repository"), name="yolov8n")
    >>> report = export(Path("yolov8n.pt"), target, deployment=Deployment(instances=2))  # doctest: +SKIP
    >>> print(report.commands["embedded"])  # doctest: +SKIP
    yolov8-server build/repository
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.served_model import ServedModel
from yolov8_contract.slices import Slicing
from yolov8_contract.task import Task
from yolov8_export.choices import CalibrationData
from yolov8_export.config.deployment import Deployment, deployment_from
from yolov8_export.config.tuning import Tuning
from yolov8_export.errors import (
    AccuracyError,
    ExportError,
    OptionError,
    RepositoryError,
    RunError,
    UnsupportedError,
    VerificationError,
    WeightsError,
    WeightsNotFoundError,
)
from yolov8_export.overrides import ModelOverrides

if TYPE_CHECKING:
    from yolov8_export.checks.files import Finding
    from yolov8_export.checks.repository import CheckReport, check
    from yolov8_export.config.serving import compose_env
    from yolov8_export.estimates import Cost, Estimate, Member, estimate
    from yolov8_export.graph.network import Network, ServedNetwork
    from yolov8_export.graph.verify import Verification
    from yolov8_export.pipeline import Report, export
    from yolov8_export.precision.accuracy import Accuracy, LayerSelection
    from yolov8_export.progress import Progress
    from yolov8_export.repository.custom_configs import AddedConfig, add_config
    from yolov8_export.repository.layout import Target
    from yolov8_export.source.original import Source

__all__ = [
    "Accuracy",
    "AccuracyError",
    "AddedConfig",
    "CalibrationData",
    "CheckReport",
    "Cost",
    "Deployment",
    "Estimate",
    "ExportError",
    "Finding",
    "ImageLimits",
    "LayerSelection",
    "Member",
    "ModelOverrides",
    "Network",
    "OptionError",
    "Progress",
    "Report",
    "RepositoryError",
    "RequestParameters",
    "RunError",
    "ServedModel",
    "ServedNetwork",
    "Slicing",
    "Source",
    "Target",
    "Task",
    "Tuning",
    "UnsupportedError",
    "Verification",
    "VerificationError",
    "WeightsError",
    "WeightsNotFoundError",
    "add_config",
    "check",
    "compose_env",
    "deployment_from",
    "estimate",
    "export",
]

_SLOW = {
    "checks.files": ("Finding",),
    "checks.repository": ("CheckReport", "check"),
    "config.serving": ("compose_env",),
    "estimates": ("Cost", "Estimate", "Member", "estimate"),
    "graph.network": ("Network", "ServedNetwork"),
    "graph.verify": ("Verification",),
    "pipeline": ("Report", "export"),
    "precision.accuracy": ("Accuracy", "LayerSelection"),
    "progress": ("Progress",),
    "repository.custom_configs": ("AddedConfig", "add_config"),
    "repository.layout": ("Target",),
    "source.original": ("Source",),
}
"""The modules that are imported when one of their names is first used."""


def __getattr__(name: str) -> Any:
    for module, names in _SLOW.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
