# SPDX-License-Identifier: AGPL-3.0-or-later
"""Export weights: read them, make the network servable, reduce its precision, configure it, write the repository."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract.errors import ConfigError
from yolov8_contract.served_model import ServedModel
from yolov8_export.choices import CalibrationData
from yolov8_export.config.deployment import (
    LEAST_CONF_OF_CANDIDATES,
    Deployment,
    sensible_queue_timeout_s,
)
from yolov8_export.config.members import IR_FILE, ServedModelSpec
from yolov8_export.config.parts import MIN_BOUNDED_INSTANCES
from yolov8_export.config.recover import read_spec
from yolov8_export.config.served import as_served
from yolov8_export.config.serving import serving_commands
from yolov8_export.config.sizing import shm_mib
from yolov8_export.engines import check_engine, for_engine, fp16_writer, given_saved_model, with_saved_model
from yolov8_export.errors import OptionError
from yolov8_export.graph.batch import has_nms_inside, mixes_images, servable_network
from yolov8_export.graph.network import Network, ServedNetwork
from yolov8_export.graph.rewrite import check_reducible, rewritten
from yolov8_export.graph.verify import Verification, verify
from yolov8_export.model_code import DALI, PYTHON, member_files
from yolov8_export.overrides import DEFAULT_OPSET, ModelOverrides
from yolov8_export.precision.accuracy import Accuracy
from yolov8_export.precision.reduce import check_calibration_data, check_judged_by, reduce
from yolov8_export.progress import Progress
from yolov8_export.repository.custom_configs import regenerate
from yolov8_export.repository.layout import Target, dali_name, dali_problem
from yolov8_export.repository.stage import staging
from yolov8_export.repository.write import PreparedModel, adds_version, check_replaceable, write_model
from yolov8_export.runtime import in_batches_of, onnx_runner
from yolov8_export.source.families import note_on_family
from yolov8_export.source.onnx_file import read_onnx
from yolov8_export.source.original import Original
from yolov8_export.source.weights import check_file, check_torch, is_saved_model, prepare_ultralytics

_DYNAMICALLY_QUANTIZED = (
    "the network is quantized dynamically, by one range for a batch, so it runs one image at a time"
)
_NMS_INSIDE = (
    "NMS is inside the network, so it runs one image at a time; its conf, iou and number of objects were fixed when it "
    "was exported, and a request can only raise conf and lower max_det"
)
_FIXED_BATCH = "the SavedModel takes one image at a time, as Ultralytics exports it; an export of the .pt takes batches"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of an export.

    Attributes:
        target: The place of the model in the repository.
        configs: The configurations of the composing models and of the ensemble, by name.
        written: The folders that were written and their sizes in bytes, the ensemble's last.
        network: The served network.
        deployment: The settings with which the model is served.
        verification: The differences between the network and its original.
        accuracy: The loss of a lower precision, if there is one.
        seconds: The duration of each step by its title.
        notes: Notes for the user.
    """

    target: Target
    configs: Mapping[str, pb.ModelConfig]
    written: Mapping[Path, int]
    network: ServedNetwork
    deployment: Deployment
    verification: Verification
    accuracy: Accuracy | None = None
    seconds: Mapping[str, float]
    notes: tuple[str, ...]

    @property
    def shm_mib(self) -> int:
        """The shared memory in MiB that a container needs for this model."""
        return shm_mib(self.configs.values(), max_bytes=self.deployment.limits.max_bytes)

    @property
    def commands(self) -> dict[str, str]:
        """The commands that serve the repository: on this machine, and in a container."""
        return serving_commands(self.target.repository, self.configs, self.deployment)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values, for scripts."""
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
    """Export a `.pt`, `.onnx` or `.torchscript` file, or a SavedModel, into a model repository.

    Args:
        weights: The path of the file, or of the SavedModel's folder.
        target: The place of the served model.
        overrides: What the file does not say about the model, or says otherwise.
        deployment: The settings with which the model is served.
        calibration_data: The images for a lower precision.
        opset: The ONNX opset version to export with (not for .onnx input).
        progress: Where the steps are shown; by default, nowhere.

    Raises:
        ExportError: The export failed, and the repository is unchanged.

    Example:
        >>> target = Target(repository=Path("build/repository"), name="yolov8n")
        >>> export(Path("yolov8n.pt"), target).shm_mib  # doctest: +SKIP
        768
    """
    overrides, deployment, progress = overrides or ModelOverrides(), deployment or Deployment(), progress or Progress()
    data = calibration_data or CalibrationData()
    if adds_version(target):
        deployment = _with_tensors_of(read_spec(target.repository, target.name).deployment, deployment)
    _check_request(target, deployment, data)
    check_engine(weights, deployment)
    if is_saved_model(weights):
        return _export_given(weights, target, overrides, deployment, progress)
    with staging(target.repository) as stage:
        accept = partial(_check_model, target, deployment, data)
        original = _read(weights, overrides, opset, progress, accept)
        network = servable_network(original)
        with progress.step(f"Comparing the network with the {original.reference}"):
            run = onnx_runner(network.onnx, called="the network")
            if mixes_images(network.onnx):
                run = in_batches_of(1, run)
            verification = verify(run, original.run, original.model, against=original.reference)
        model = _check_served(network, deployment)
        network, verification = for_engine(original, network, model, deployment.engine, verification, stage, progress)
        deployment = _with_queue_timeout(deployment, network.parameters, model, target)
        network, accuracy = reduce(
            network,
            deployment.precision,
            deployment.engine,
            data,
            served=model,
            max_candidates=deployment.max_candidates,
            engine_file=stage / IR_FILE,
            write_fp16=fp16_writer(original, model, deployment.engine, stage),
            progress=progress,
        )
        with progress.step("Writing the repository"):
            network = rewritten(
                network, model, max_candidates=deployment.max_candidates, cast_first=deployment.uses_tensorrt
            )
            if deployment.engine == "tensorflow":
                network = with_saved_model(network, stage)
            single_images = mixes_images(network.onnx)
            prepared, notes = _configured(
                network, verification, accuracy, target, deployment, single_images=single_images
            )
            if has_nms_inside(network.onnx):
                notes = (*notes, _NMS_INSIDE)
            elif single_images:
                notes = (*notes, _DYNAMICALLY_QUANTIZED)
            written = write_model(prepared, stage)
    return _report(prepared, deployment, written, notes, progress)


def _with_tensors_of(there: Deployment, deployment: Deployment) -> Deployment:
    """Return the deployment of an added version, whose network has the tensors of the one that is there."""
    if deployment.network_input == "auto":
        deployment = replace(deployment, network_input=there.network_input)
    if deployment.network_output == "auto":
        deployment = replace(deployment, network_output=there.network_output, max_candidates=there.max_candidates)
    return deployment


def _export_given(
    weights: Path, target: Target, overrides: ModelOverrides, deployment: Deployment, progress: Progress
) -> Report:
    """Export a SavedModel as it is, which has no ONNX network."""
    deployment = replace(deployment, network_output="raw")

    def accept(model: ServedModel) -> ServedModel:
        _check_target(target, deployment, model, given_input=model.network_input)
        return as_served(model, deployment, given_input=model.network_input)

    with staging(target.repository) as stage:
        given = given_saved_model(weights, overrides, progress, accept, stage)
        deployment = _with_queue_timeout(deployment, given.parameters, given.network.model, target)
        with progress.step("Writing the repository"):
            prepared, notes = _configured(
                given.network, given.verification, None, target, deployment, single_images=given.single_images
            )
            if given.single_images:
                notes = (*notes, _FIXED_BATCH)
            written = write_model(prepared, stage)
    return _report(prepared, deployment, written, notes, progress)


def _report(
    prepared: PreparedModel,
    deployment: Deployment,
    written: Mapping[Path, int],
    notes: tuple[str, ...],
    progress: Progress,
) -> Report:
    return Report(
        target=prepared.target,
        configs=prepared.configs,
        written=written,
        network=prepared.network,
        deployment=deployment,
        verification=prepared.verification,
        accuracy=prepared.accuracy,
        seconds=progress.seconds,
        notes=notes,
    )


def default_name(weights: Path, deployment: Deployment) -> str:
    """Return the name of a model without ``--name``: the file's, in characters that the deployment can load."""
    name = weights.stem.removesuffix("_saved_model")
    return dali_name(name) if deployment.preprocess == "dali" else name


def _check_request(target: Target, deployment: Deployment, data: CalibrationData) -> None:
    """Check what can be checked before the long steps."""
    deployment.check_effective()
    member_files("postprocess")
    if deployment.preprocess == "dali":
        member_files("check")
    member_files("preprocess", DALI if deployment.preprocess == "dali" else PYTHON)
    if deployment.preprocess == "dali" and (problem := dali_problem(target.repository, target.name)) is not None:
        raise OptionError(problem)
    check_calibration_data(deployment.precision, deployment.engine, data)
    check_replaceable(target, None)
    if adds_version(target):
        there = read_spec(target.repository, target.name).model
        is_as_given = deployment.engine == "tensorflow" and deployment.network_input in ("auto", "fp32")
        _check_target(target, deployment, there, given_input=there.network_input if is_as_given else None)


def _check_model(target: Target, deployment: Deployment, data: CalibrationData, model: ServedModel) -> None:
    """Check what is known of a model before the network is traced."""
    _check_target(target, deployment, model)
    check_judged_by(data, model)


def _check_target(
    target: Target, deployment: Deployment, model: ServedModel, *, given_input: str | None = None
) -> None:
    """Check a model and its deployment before the network is traced.

    If a version is added, its configurations are those of the model that is there, except for what is known by now.
    """
    model = as_served(model, deployment, given_input=given_input)
    try:
        deployment.policy(model.task, num_classes=len(model.labels), has_nms=model.has_nms)
    except ConfigError as exc:
        raise OptionError(str(exc)) from exc
    if adds_version(target):
        there = read_spec(target.repository, target.name)
        if deployment.queue_timeout_s is None:
            deployment = replace(deployment, queue_timeout_s=there.deployment.queue_timeout_s)
        with suppress(ConfigError):  # another head, which is refused when the network is known
            check_replaceable(target, replace(there, model=model, deployment=deployment).configs())


def _read(
    weights: Path, overrides: ModelOverrides, opset: int, progress: Progress, accept: Callable[[ServedModel], None]
) -> Original:
    """Load the weights as an ONNX network in memory; ``accept`` raises an error for a model that can't be served."""
    check_file(weights)
    if weights.suffix not in (".pt", ".torchscript"):
        return read_onnx(weights, overrides, progress, accept)
    if weights.suffix == ".torchscript":
        with progress.step("Loading torch"):
            check_torch()
            from yolov8_export.source.torchscript import read_torchscript
        return read_torchscript(weights, overrides, opset, progress, accept)
    with progress.step("Loading torch and Ultralytics"):
        prepare_ultralytics()
        from yolov8_export.source.checkpoint import read_checkpoint
    return read_checkpoint(weights, overrides, opset, progress, accept)


def _check_served(network: Network, deployment: Deployment) -> ServedModel:
    """Return the model as it will be served, before the precision is reduced, which can take minutes."""
    model = as_served(network.model, deployment, network.opset)
    if model.network_output in ("best-class", "candidates"):
        check_reducible(network, model.network_output, deployment.max_candidates)
    return model


def _with_queue_timeout(deployment: Deployment, parameters: int, model: ServedModel, target: Target) -> Deployment:
    """Return the deployment with a queue timeout: the given one, that of the versions there, or a sensible one."""
    if deployment.queue_timeout_s is not None:
        return deployment
    if adds_version(target):
        timeout_s = read_spec(target.repository, target.name).deployment.queue_timeout_s
    else:
        timeout_s = sensible_queue_timeout_s(parameters, model.imgsz, deployment.device)
    return replace(deployment, queue_timeout_s=timeout_s)


def _configured(
    network: ServedNetwork,
    verification: Verification,
    accuracy: Accuracy | None,
    target: Target,
    deployment: Deployment,
    *,
    single_images: bool,
) -> tuple[PreparedModel, tuple[str, ...]]:
    """Return the network with its configurations, and notes for the user."""
    spec = ServedModelSpec(
        name=target.name,
        model=network.model,
        head=network.head,
        stride=network.stride,
        deployment=deployment,
        single_images=single_images,
    )
    try:
        configs = spec.configs()
    except ConfigError as exc:
        raise OptionError(str(exc)) from exc
    custom = regenerate(target, spec)
    prepared = PreparedModel(
        target=target,
        configs=configs,
        network=network,
        verification=verification,
        limits=deployment.limits,
        accuracy=accuracy,
        custom_configs=custom.configs,
    )
    return prepared, (*_notes(spec, network), *custom.notes)


def _notes(spec: ServedModelSpec, network: ServedNetwork) -> Iterator[str]:
    """Yield what a user would not expect of a model."""
    if family := note_on_family(network.source.architecture, network.source.head or ""):
        yield family
    if spec.deployment.max_inflight:
        yield "--max-inflight needs Triton 25.11 or newer; older servers, also the embedded one, can't read the model"
    model = spec.model
    if spec.deployment.engine == "tensorflow":
        yield "TensorFlow takes channels last, so Ultralytics' own client can't use the bare network"
    elif model.network_input == "fp32" and model.network_output in ("best-class", "candidates"):
        yield "Ultralytics' own client would misread this network's output: for that client, add --network-output raw"
    elif spec.deployment.device == "gpu" and (model.network_input, model.network_output) != ("fp32", "raw"):
        yield (
            "Ultralytics' own client can't use this network, which takes and returns few bytes; for that client, add "
            "--network-input fp32 --network-output raw"
        )
    if (spec.deployment.engine, spec.deployment.device, network.precision) == ("pytorch", "cpu", "fp16"):
        yield "PyTorch has no fast FP16 on most CPUs: this model is for rehearsals; serve it with --device gpu"
    conf = spec.deployment.defaults.conf
    if spec.model.network_output == "candidates" and conf < LEAST_CONF_OF_CANDIDATES:
        yield (
            f"the default conf {conf} lets in more than {spec.head[0][1]} anchors of many images, and their requests "
            "are refused: raise --conf or --max-candidates, or choose --network-output best-class"
        )
    if spec.deployment.priority_levels and spec.deployment.instances < MIN_BOUNDED_INSTANCES:
        yield (
            "with one instance, the network's queue has no limits, so requests of lower levels wait there after their "
            f"callers have left: add --instances {MIN_BOUNDED_INSTANCES}"
        )
