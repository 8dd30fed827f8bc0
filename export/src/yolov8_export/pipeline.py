# SPDX-License-Identifier: AGPL-3.0-or-later
"""The export, step by step: weights → ONNX → verified → configurations → repository."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from yolov8_contract.errors import ConfigError
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.config import served_configs
from yolov8_export.deployment import Deployment
from yolov8_export.errors import OptionError
from yolov8_export.families import note_on_family
from yolov8_export.imgsz import Size, check_stride
from yolov8_export.model_code import PYTHON_ROLES, member_files
from yolov8_export.network import Network, checked_network
from yolov8_export.progress import Progress
from yolov8_export.report import Report
from yolov8_export.repository import MODEL_FILE, Target, staging, write_model
from yolov8_export.ultralytics_import import prepare_ultralytics
from yolov8_export.verify import Verification, onnx_runner, verify

DEFAULT_OPSET = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the user says of a model; None for what the weights say.

    Attributes:
        imgsz: Height and width of the network's input.
        task: For an `.onnx` file without Ultralytics' metadata.
        labels: Class names; for a checkpoint or metadata that has others, they must be as many.
        kpt_shape: For a pose network without Ultralytics' metadata.
    """

    imgsz: Size | None = None
    task: Task | None = None
    labels: tuple[str, ...] | None = None
    kpt_shape: tuple[int, int] | None = None


def export(
    weights: Path,
    target: Target,
    *,
    facts: Facts | None = None,
    deployment: Deployment | None = None,
    opset: int = DEFAULT_OPSET,
    progress: Progress | None = None,
) -> Report:
    """Export a `.pt` or `.onnx` file into a model repository.

    Raises:
        ExportError: It could not be done; the repository is as it was.
    """
    facts, deployment, progress = facts or Facts(), deployment or Deployment(), progress or Progress()
    for role in PYTHON_ROLES:
        member_files(role)  # if it is missing, say so before the long steps
    notes: list[str] = []
    with staging(target.repository) as stage:
        if weights.suffix == ".pt":
            network, verification = _from_checkpoint(weights, stage, facts, opset, progress)
        else:
            raise NotImplementedError
        if note := note_on_family(network.source.architecture, network.source.head or ""):
            notes.append(note)
        with progress.step("Writing the repository"):
            try:
                configs = served_configs(
                    target.name, network.model, network.head, stride=network.stride, deployment=deployment
                )
            except ConfigError as exc:
                raise OptionError(str(exc)) from exc
            size = network.path.stat().st_size
            written = write_model(target, configs, network, verification, stage)
    return Report(
        target=target,
        written=tuple(written),
        network=network,
        network_bytes=size,
        deployment=deployment,
        verification=verification,
        seconds=progress.seconds,
        notes=tuple(notes),
    )


def _from_checkpoint(
    weights: Path, stage: Path, facts: Facts, opset: int, progress: Progress
) -> tuple[Network, Verification]:
    with progress.step("Loading torch and Ultralytics"):
        prepare_ultralytics()
        from yolov8_export import checkpoint as checkpoints
        from yolov8_export import to_onnx
    with progress.step(f"Loading {weights}"):
        checkpoint = checkpoints.load_checkpoint(weights)
    progress.note(f"  {checkpoint}")
    model = ServedModel(
        task=checkpoint.task,
        labels=checkpoint.labels,
        imgsz=facts.imgsz or checkpoint.imgsz,
        kpt_shape=checkpoint.kpt_shape,
    )
    check_stride(model.imgsz, checkpoint.stride)
    path = stage / MODEL_FILE
    with progress.step("Tracing it into ONNX"):
        to_onnx.trace(checkpoint, model, path, opset=opset)
        network = checked_network(path, model, stride=checkpoint.stride, source=checkpoint.source)
    with progress.step("Comparing the ONNX network with the checkpoint"):
        verification = verify(onnx_runner(path), checkpoint.run, model, against="checkpoint")
    return network, verification
