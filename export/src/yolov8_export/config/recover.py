# SPDX-License-Identifier: AGPL-3.0-or-later
"""Recover a served model's specification from the configurations that were written from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract import signature
from yolov8_contract.errors import ConfigError
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import ParameterPolicy
from yolov8_contract.served_model import ServedModel
from yolov8_contract.signature import Head
from yolov8_export.choices import Accelerator, Engine, NetworkOutput
from yolov8_export.config.deployment import DEFAULT_MAX_CANDIDATES, Deployment
from yolov8_export.config.files import as_json, config_path, read_config
from yolov8_export.config.members import IR_FILE, ServedModelSpec
from yolov8_export.config.sizing import is_on_gpu
from yolov8_export.errors import OptionError, RepositoryError
from yolov8_export.ultralytics_metadata import read_literal

_Text = TypeVar("_Text", bound=str)


def read_spec(repository: Path, name: str, config_name: str | None = None) -> ServedModelSpec:
    """Read the specification that a served model's configurations were written from.

    Args:
        repository: The folder that Triton serves.
        name: The name of the ensemble.
        config_name: The custom model configuration to read where a model has it, as Triton does.

    Raises:
        RepositoryError: The model is missing, or export would not have written it so.
    """
    ensemble = read_config(config_path(repository / name, config_name))
    members = [step.model_name for step in ensemble.ensemble_scheduling.step]
    configs = {member: read_config(config_path(repository / member, config_name)) for member in members}
    return spec_from_configs(repository, name, configs | {name: ensemble})


def spec_from_configs(repository: Path, name: str, configs: Mapping[str, pb.ModelConfig]) -> ServedModelSpec:
    """Return the specification that configurations were written from.

    Args:
        repository: The folder that Triton serves, for error messages.
        name: The name of the ensemble.
        configs: The configurations of the ensemble and its composing models, by name.

    Raises:
        RepositoryError: Export would not have written them so.
    """
    ensemble = configs[name]
    network, preprocess = configs.get(f"{name}_network"), configs.get(f"{name}_preprocess")
    if network is None or preprocess is None:
        raise RepositoryError(f"{repository / name}: is not an ensemble of export; say the name that clients use")
    try:
        model = ServedModel.from_config(as_json(ensemble))
        metadata: Any = read_literal(network.parameters["metadata"].string_value)
        head: Head = tuple(tuple(int(dim) for dim in output.dims) for output in network.output)
        signature.network(model, head)  # raises an error for the head of another model
        first = configs[ensemble.ensemble_scheduling.step[0].model_name]
        return ServedModelSpec(
            name=name,
            model=model,
            head=head,
            stride=int(metadata["stride"]),
            deployment=_deployment(model, first, preprocess, network),
            # OpenVINO's backend takes no batches in any case.
            single_images=network.backend != "openvino" and network.max_batch_size < first.max_batch_size,
        )
    except (ConfigError, OptionError, KeyError, IndexError, TypeError, ValueError) as exc:
        raise RepositoryError(f"{repository / name}: export would not have written it so: {exc}") from exc


def _deployment(
    model: ServedModel, first: pb.ModelConfig, preprocess: pb.ModelConfig, network: pb.ModelConfig
) -> Deployment:
    config = as_json(first)
    policy = ParameterPolicy.from_config(config, model)
    queue = first.dynamic_batching.default_queue_policy
    instances = int(network.instance_group[0].count)
    return Deployment(
        max_batch_size=first.max_batch_size,  # not the network's, which is 1 for OpenVINO
        instances=instances,
        threads=_threads(preprocess.parameters, network.parameters, instances),
        queue_size=queue.max_queue_size,
        queue_timeout_s=queue.default_timeout_microseconds / 1e6,
        queue_delay_us=int(network.dynamic_batching.max_queue_delay_microseconds),
        priority_levels=model.priority_levels,
        limits=ImageLimits.from_config(config),
        defaults=policy.defaults,
        max_det_limit=policy.max_det_limit,
        max_slices=model.max_slices,
        preprocess="dali" if preprocess.backend == "dali" else "opencv",
        engine=_checked(network.backend, get_args(Engine)),
        device="gpu" if is_on_gpu(network) else "cpu",
        gpus=tuple(network.instance_group[0].gpus),
        accelerator=_accelerator(network),
        network_input="uint8" if model.network_input == "uint8" else "fp32",
        network_output=_checked(model.network_output, get_args(NetworkOutput)),
        max_candidates=int(network.output[0].dims[1])
        if model.network_output == "candidates"
        else DEFAULT_MAX_CANDIDATES,
        # int8 is the only precision that changes a configuration.
        precision="int8" if network.default_model_filename == IR_FILE else "fp32",
        cuda_graphs=network.optimization.cuda.graphs,
    )


def _threads(preprocess: Mapping[str, Any], network: Mapping[str, Any], instances: int) -> int:
    """Return ``threads``, which has no effect when OpenCV preprocessing feeds a GPU network."""
    if "num_threads" in preprocess:
        return int(preprocess["num_threads"].string_value)
    if "intra_op_thread_count" in network:
        return int(network["intra_op_thread_count"].string_value)
    if "INTRA_OP_THREAD_COUNT" in network:
        return int(network["INTRA_OP_THREAD_COUNT"].string_value)
    if "INFERENCE_NUM_THREADS" in network:
        return int(network["INFERENCE_NUM_THREADS"].string_value) // instances
    return Deployment().threads


def _accelerator(network: pb.ModelConfig) -> Accelerator:
    accelerators = network.optimization.execution_accelerators.gpu_execution_accelerator
    return _checked(accelerators[0].name, get_args(Accelerator)) if accelerators else "cuda"


def _checked(value: str, known: tuple[_Text, ...]) -> _Text:
    for text in known:
        if text == value:
            return text
    raise ValueError(f"{value!r} is not one of {', '.join(known)}")
