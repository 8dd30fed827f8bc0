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
from yolov8_export.choices import Accelerator, Engine, NetworkOutput, Precision
from yolov8_export.config.deployment import DEFAULT_MAX_CANDIDATES, Deployment
from yolov8_export.config.files import as_json, config_path, read_config
from yolov8_export.config.members import BF16, HW_DECODER_LOAD, IR_FILE, TF32, ServedModelSpec
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
            deployment=_deployment(model, configs, ensemble, first),
            # OpenVINO's backend takes no batches in any case.
            single_images=network.backend != "openvino" and network.max_batch_size < first.max_batch_size,
        )
    except (ConfigError, OptionError, KeyError, IndexError, TypeError, ValueError) as exc:
        raise RepositoryError(f"{repository / name}: export would not have written it so: {exc}") from exc


def _deployment(
    model: ServedModel, configs: Mapping[str, pb.ModelConfig], ensemble: pb.ModelConfig, first: pb.ModelConfig
) -> Deployment:
    preprocess, network = configs[f"{ensemble.name}_preprocess"], configs[f"{ensemble.name}_network"]
    postprocess = configs.get(f"{ensemble.name}_postprocess")
    config = as_json(first)
    policy = ParameterPolicy.from_config(config, model)
    queue = first.dynamic_batching.default_queue_policy
    instances = int(network.instance_group[0].count)
    with_dali = preprocess.backend == "dali"
    decoders, usual = int(preprocess.instance_group[0].count), 1 if with_dali else 2
    return Deployment(
        max_batch_size=first.max_batch_size,  # not the network's, which is 1 for OpenVINO
        instances=instances,
        threads=_threads(network.parameters, instances),
        check_instances=int(first.instance_group[0].count) if with_dali else Deployment().check_instances,
        preprocess_instances=None if decoders == usual else decoders,
        postprocess_instances=int(postprocess.instance_group[0].count) if postprocess is not None else 1,
        **_decoding(preprocess),
        queue_size=queue.max_queue_size,
        queue_timeout_s=queue.default_timeout_microseconds / 1e6,
        queue_delay_us=int(network.dynamic_batching.max_queue_delay_microseconds),
        priority_levels=model.priority_levels,
        limits=ImageLimits.from_config(config),
        defaults=policy.defaults,
        max_det_limit=policy.max_det_limit,
        max_slices=model.max_slices,
        timings=model.timings,
        preprocess="dali" if with_dali else "opencv",
        engine=_checked(network.backend, get_args(Engine)),
        device="gpu" if is_on_gpu(network) else "cpu",
        gpus=tuple(network.instance_group[0].gpus),
        accelerator=_accelerator(network),
        network_input="uint8" if model.network_input == "uint8" else "fp32",
        # The weights say whether a network is end-to-end, not the deployment.
        network_output=_checked(model.network_output, get_args(NetworkOutput)) if model.has_nms else "raw",
        max_candidates=int(network.output[0].dims[1])
        if model.network_output == "candidates"
        else DEFAULT_MAX_CANDIDATES,
        precision=_precision(network),
        tf32=_uses_tf32(network),
        cuda_graphs=network.optimization.cuda.graphs,
        batch_profiles=len(network.instance_group[0].profile) > 1,
        max_inflight=int(ensemble.ensemble_scheduling.max_inflight_requests),
    )


def _precision(network: pb.ModelConfig) -> Precision:
    """Return the precision as far as it changes a configuration."""
    if network.default_model_filename == IR_FILE:
        return "int8"
    return "bf16" if BF16 in network.parameters else "fp32"


def _decoding(preprocess: pb.ModelConfig) -> dict[str, Any]:
    """Return the settings of DALI's decoder; without DALI, none."""
    if preprocess.backend != "dali":
        return {}
    parameters = preprocess.parameters
    return {
        "decode_threads": int(parameters["num_threads"].string_value),
        "hw_decoder_load": float(parameters[HW_DECODER_LOAD].string_value),
    }


def _uses_tf32(network: pb.ModelConfig) -> bool:
    accelerators = network.optimization.execution_accelerators.gpu_execution_accelerator
    return TF32 in network.parameters or any(one.parameters.get("use_tf32") == "1" for one in accelerators)


def _threads(network: Mapping[str, Any], instances: int) -> int:
    """Return ``threads``, which has an effect only on a network on the CPU."""
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
