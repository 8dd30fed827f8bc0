# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an export did.

The export, step by step: weights → ONNX → verified → configurations → repository.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.errors import ConfigError
from yolov8_export.config.deployment import CalibrationData, Deployment, as_served
from yolov8_export.config.recover import ServedModelSpec
from yolov8_export.config.serving import serving_commands
from yolov8_export.config.sizing import shm_mib
from yolov8_export.errors import OptionError
from yolov8_export.graph import rewrite
from yolov8_export.graph.network import Network, checked_network
from yolov8_export.graph.rewrite import accept_uint8_images
from yolov8_export.graph.runtime import in_batches_of, onnx_runner
from yolov8_export.graph.verify import Verification, seeded_images, verify
from yolov8_export.model_code import DALI, PYTHON, member_files
from yolov8_export.overrides import DEFAULT_OPSET, ModelOverrides
from yolov8_export.precision.accuracy import Accuracy
from yolov8_export.precision.reduce import check_evidence, reduce
from yolov8_export.progress import Progress
from yolov8_export.repository.custom_configs import regenerate
from yolov8_export.repository.layout import Target
from yolov8_export.repository.write import MODEL_FILE, PreparedModel, staging, write_model
from yolov8_export.source import onnx_file
from yolov8_export.source.families import note_on_family
from yolov8_export.source.weights import prepare_ultralytics


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an export did.

    Attributes:
        target: Where the model went.
        configs: Its members' configurations and the ensemble's, by name.
        written: The folders that were put in place and their sizes in bytes, the ensemble's last.
        network: What is served; its file has moved into the repository.
        deployment: How it runs.
        verification: How far the network is from its source.
        accuracy: How much a lower precision lost.
        seconds: How long each step took.
        notes: What the user should know.
    """

    target: Target
    configs: Mapping[str, pb.ModelConfig]
    written: Mapping[Path, int]
    network: Network
    deployment: Deployment
    verification: Verification
    accuracy: Accuracy | None = None
    seconds: Mapping[str, float]
    notes: tuple[str, ...]

    @property
    def shm_mib(self) -> int:
        """MiB of shared memory that a container needs for this model."""
        return shm_mib(self.configs.values(), max_bytes=self.deployment.limits.max_bytes)

    @property
    def commands(self) -> dict[str, str]:
        """What serves the repository: here, and in a container."""
        return serving_commands(self.target.repository, self.configs, self.deployment)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, for scripts."""
        model, source = self.network.model, self.network.source
        return {
            "name": self.target.name,
            "version": self.target.version or 1,
            "repository": str(self.target.repository),
            "task": model.task.value,
            "classes": len(model.labels),
            "imgsz": list(model.imgsz),
            "source": {"path": str(source.path), "sha256": source.sha256, "architecture": source.architecture},
            "written": {str(path): size for path, size in self.written.items()},
            "verification": {
                "against": self.verification.reference,
                "images": self.verification.images,
                "differences": self.verification.differences,
            },
            "accuracy": None if self.accuracy is None else self.accuracy.to_json(),
            "seconds": dict(self.seconds),
            "shm_mib": self.shm_mib,
            "commands": self.commands,
            "notes": list(self.notes),
        }


def export(
    weights: Path,
    target: Target,
    *,
    overrides: ModelOverrides | None = None,
    deployment: Deployment | None = None,
    calibration_data: CalibrationData | None = None,
    opset: int = DEFAULT_OPSET,
    progress: Progress | None = None,
) -> Report:
    """Export a `.pt` or `.onnx` file into a model repository.

    Args:
        weights: The path of the file.
        target: The place of the served model.
        overrides: What the file does not say about the model, or says otherwise.
        deployment: The settings with which the model is served.
        calibration_data: The images for a lower precision.
        opset: The ONNX opset version to export with (.pt input only).
        progress: Where the steps are shown; by default, nowhere.

    Raises:
        ExportError: The export failed, and the repository is unchanged.

    Example:
        >>> target = Target(repository=Path("build/repository"), name="yolov8n")
        >>> export(Path("yolov8n.pt"), target).shm_mib  # doctest: +SKIP
        768
    """
    overrides, deployment, progress = overrides or ModelOverrides(), deployment or Deployment(), progress or Progress()
    calibration_data = calibration_data or CalibrationData()
    _check_code(deployment)
    _check_name(target, deployment)
    check_evidence(deployment, calibration_data)
    notes: list[str] = []
    with staging(target.repository) as stage:
        if weights.suffix == ".pt":
            network, verification = _from_checkpoint(weights, stage, overrides, opset, progress)
        else:
            network, verification = _from_onnx(weights, stage, overrides, progress)
        if note := note_on_family(network.source.architecture, network.source.head or ""):
            notes.append(note)
        _check_served(network, deployment)
        network, accuracy = reduce(network, deployment, calibration_data, progress)
        network = _as_deployed(network, deployment)
        with progress.step("Writing the repository"):
            deployed = ServedModelSpec(
                name=target.name,
                model=network.model,
                head=network.head,
                stride=network.stride,
                deployment=deployment,
            )
            try:
                configs = deployed.configs()
            except ConfigError as exc:
                raise OptionError(str(exc)) from exc
            custom = regenerate(target, deployed)
            notes += custom.notes
            prepared = PreparedModel(
                target=target,
                configs=configs,
                network=network,
                verification=verification,
                limits=deployment.limits,
                accuracy=accuracy,
                custom_configs=custom.configs,
            )
            written = write_model(prepared, stage)
    return Report(
        target=target,
        configs=configs,
        written=written,
        network=network,
        deployment=deployment,
        verification=verification,
        accuracy=accuracy,
        seconds=progress.seconds,
        notes=tuple(notes),
    )


def default_name(weights: Path, deployment: Deployment) -> str:
    """Return the name of a model whose user gave none: the file's, with characters that its deployment can load."""
    return re.sub(r"[^A-Za-z0-9_.]", "_", weights.stem) if deployment.preprocess == "dali" else weights.stem


def _check_code(deployment: Deployment) -> None:
    """Where the members' code is missing, say so before the long steps."""
    member_files("postprocess")
    if deployment.preprocess == "dali":
        member_files("check")
    member_files("preprocess", DALI if deployment.preprocess == "dali" else PYTHON)


def _check_name(target: Target, deployment: Deployment) -> None:
    """Refuse a name that DALI's backend can't load: it lets nothing but these characters into the command it runs."""
    if deployment.preprocess == "dali" and not re.fullmatch(r"[A-Za-z0-9_.]+", target.name):
        raise OptionError(
            f"--name {target.name}: Triton's dali backend loads no file under a path that has other characters than "
            f"letters, digits, '_' and '.'; say --name {re.sub(r'[^A-Za-z0-9_.]', '_', target.name)}"
        )


def _check_served(network: Network, deployment: Deployment) -> None:
    """What can't be served as wished is refused before a precision is reduced, which can take minutes."""
    if as_served(network.model, deployment).network_output == "best-class":
        rewrite.check_opset(network.opset)


def _as_deployed(network: Network, deployment: Deployment) -> Network:
    """Make of a network what its deployment serves."""
    model = as_served(network.model, deployment)
    if model.network_input == "uint8":
        accept_uint8_images(network.path)
    if model.network_output == "best-class":
        rewrite.reduce_to_best_class(network.path, len(model.labels))
    served = checked_network(network.path, model, stride=network.stride, source=network.source)
    return replace(served, precision=network.precision, engine_files=network.engine_files)


def _from_checkpoint(
    weights: Path, stage: Path, overrides: ModelOverrides, opset: int, progress: Progress
) -> tuple[Network, Verification]:
    with progress.step("Loading torch and Ultralytics"):
        prepare_ultralytics()
        from yolov8_export.source.checkpoint import load_checkpoint, trace
    with progress.step(f"Loading {weights}"):
        checkpoint = load_checkpoint(weights)
    progress.note(f"  {checkpoint}")
    model = checkpoint.served_model(overrides)
    path = stage / MODEL_FILE
    with progress.step("Tracing it into ONNX"):
        trace(checkpoint, model, path, opset=opset)
        network = checked_network(path, model, stride=checkpoint.stride, source=checkpoint.source)
    with progress.step("Comparing the ONNX network with the checkpoint"):
        verification = verify(onnx_runner(path, called="the network"), checkpoint.run, model, against="checkpoint")
    return network, verification


def _from_onnx(
    weights: Path, stage: Path, overrides: ModelOverrides, progress: Progress
) -> tuple[Network, Verification]:
    path = stage / MODEL_FILE
    with progress.step(f"Reading {weights}"):
        file = onnx_file.load_onnx(weights)
        model, stride, source = onnx_file.describe(weights, file, overrides)
        given = in_batches_of(onnx_file.batch_size(file), onnx_runner(weights, called=str(weights)))
    with progress.step("Making its batch axis, and no other, dynamic"):
        shapes = [output.shape[1:] for output in given(seeded_images(model.imgsz, 1))]
        onnx_file.make_servable(file, model, stride, shapes, path)
        network = checked_network(path, model, stride=stride, source=source)
    with progress.step("Comparing it with the file as given"):
        verification = verify(onnx_runner(path, called="the network"), given, model, against="given file")
    return network, verification
