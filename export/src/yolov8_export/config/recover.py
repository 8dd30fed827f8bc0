# SPDX-License-Identifier: AGPL-3.0-or-later
"""A served model as it lies in a repository: what its configurations were written from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract import signature
from yolov8_contract.errors import ConfigError
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import ParameterPolicy
from yolov8_contract.served_model import ServedModel
from yolov8_contract.signature import Head
from yolov8_export.config.deployment import Accelerator, Deployment, Engine
from yolov8_export.config.files import as_json, config_path, read_config
from yolov8_export.config.members import IR_FILE, plan_file, served_configs
from yolov8_export.config.sizing import is_on_gpu
from yolov8_export.errors import OptionError, RepositoryError
from yolov8_export.ultralytics_metadata import read_literal

TUNED = ("max_batch_size", "instances", "threads", "queue_delay_us", "gpus", "cuda_graphs")
"""What may differ between kinds of machine that serve one repository. All else is part of what clients see, or of
what lies in the version folders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModelSpec:
    """A model and how it runs."""

    name: str
    model: ServedModel
    head: Head
    stride: int
    deployment: Deployment

    def configs(self) -> dict[str, pb.ModelConfig]:
        """Return the configurations that export writes for it, by model name."""
        return served_configs(self.name, self.model, self.head, stride=self.stride, deployment=self.deployment)

    def named_configs(self, config_name: str, **tuned: Any) -> dict[str, pb.ModelConfig]:
        """Return what differs for another kind of machine: Triton falls back to ``config.pbtxt`` for the rest.

        Args:
            config_name: Of the configuration; a TensorRT plan is named after it, since it runs on one kind of GPU.
            tuned: Fields of `TUNED` that are other than those of ``config.pbtxt``.

        Raises:
            OptionError: The deployment can't be tuned so.
        """
        assert tuned.keys() <= set(TUNED), tuned
        base = self.configs()
        configs = replace(self, deployment=replace(self.deployment, **tuned)).configs()
        if self.deployment.engine == "tensorrt":
            configs[f"{self.name}_network"].default_model_filename = plan_file(config_name)
        return {name: config for name, config in configs.items() if config != base[name]}


def tuned_values(deployment: Deployment) -> dict[str, Any]:
    """Return what a deployment is tuned to, by field of `TUNED`."""
    return {name: getattr(deployment, name) for name in TUNED}


def tuned_text(values: Mapping[str, Any]) -> str:
    """Return the same for people: of GPUs those that were chosen, of CUDA graphs that there are some."""
    shown = dict(values) | {"gpus": ",".join(map(str, values.get("gpus", ())))}
    chosen = {name: value for name, value in shown.items() if value or name not in ("gpus", "cuda_graphs")}
    return ", ".join(f"{name} {value}" for name, value in chosen.items())


def read_deployed(repository: Path, name: str, config_name: str | None = None) -> ServedModelSpec:
    """Read what a served model's configurations were written from.

    Args:
        repository: The folder that Triton serves.
        name: The ensemble's.
        config_name: Of the configurations to read where a model has them, as Triton does.

    Raises:
        RepositoryError: The model is not there, or not one that export writes.
    """
    ensemble = read_config(config_path(repository / name, config_name))
    members = [step.model_name for step in ensemble.ensemble_scheduling.step]
    configs = {member: read_config(config_path(repository / member, config_name)) for member in members}
    return deployed_from(repository, name, configs | {name: ensemble})


def deployed_from(repository: Path, name: str, configs: Mapping[str, pb.ModelConfig]) -> ServedModelSpec:
    """Return what configurations were written from.

    Args:
        repository: The folder that Triton serves, for errors.
        name: The ensemble's.
        configs: Of the ensemble and its members, by name.

    Raises:
        RepositoryError: They are none that export writes.
    """
    ensemble = configs[name]
    network, preprocess = configs.get(f"{name}_network"), configs.get(f"{name}_preprocess")
    if network is None or preprocess is None:
        raise RepositoryError(f"{repository / name}: is no ensemble that export wrote; say the name that clients use")
    try:
        model = ServedModel.from_config(as_json(ensemble))
        metadata: Any = read_literal(network.parameters["metadata"].string_value)
        head: Head = tuple(tuple(int(dim) for dim in output.dims) for output in network.output)
        signature.network(model, head)  # raises where the head is of another model
        first = configs[ensemble.ensemble_scheduling.step[0].model_name]
        return ServedModelSpec(
            name=name,
            model=model,
            head=head,
            stride=int(metadata["stride"]),
            deployment=_deployment(model, first, preprocess, network),
        )
    except (ConfigError, OptionError, KeyError, IndexError, TypeError, ValueError) as exc:
        raise RepositoryError(f"{repository / name}: export would not have written it so: {exc}") from exc


def _deployment(
    model: ServedModel, first: pb.ModelConfig, preprocess: pb.ModelConfig, network: pb.ModelConfig
) -> Deployment:
    said = as_json(first)
    policy = ParameterPolicy.from_config(said, model)
    queue = first.dynamic_batching.default_queue_policy
    instances = int(network.instance_group[0].count)
    return Deployment(
        max_batch_size=first.max_batch_size,  # OpenVINO's network takes 1, whatever the others take
        instances=instances,
        threads=_threads(preprocess.parameters, network.parameters, instances),
        queue_size=queue.max_queue_size,
        queue_timeout_s=queue.default_timeout_microseconds / 1e6,
        queue_delay_us=int(network.dynamic_batching.max_queue_delay_microseconds),
        limits=ImageLimits.from_config(said),
        defaults=policy.defaults,
        max_det_limit=policy.max_det_limit,
        preprocess="dali" if preprocess.backend == "dali" else "opencv",
        engine=_one_of(get_args(Engine), network.backend),
        device="gpu" if is_on_gpu(network) else "cpu",
        gpus=tuple(network.instance_group[0].gpus),
        accelerator=_accelerator(network),
        network_input="uint8" if model.network_input == "uint8" else "fp32",
        network_output="best-class" if model.network_output == "best-class" else "raw",
        # Of the precisions, configurations show one alone.
        precision="int8" if network.default_model_filename == IR_FILE else "fp32",
        cuda_graphs=network.optimization.cuda.graphs,
    )


def _threads(preprocess: Mapping[str, Any], network: Mapping[str, Any], instances: int) -> int:
    """Where a GPU's network follows a decoder on the CPU, no thread is anyone's to choose."""
    if "num_threads" in preprocess:
        return int(preprocess["num_threads"].string_value)
    if "intra_op_thread_count" in network:
        return int(network["intra_op_thread_count"].string_value)
    if "INFERENCE_NUM_THREADS" in network:
        return int(network["INFERENCE_NUM_THREADS"].string_value) // instances
    return Deployment().threads


def _accelerator(network: pb.ModelConfig) -> Any:
    accelerators = network.optimization.execution_accelerators.gpu_execution_accelerator
    return _one_of(get_args(Accelerator), accelerators[0].name) if accelerators else "cuda"


def _one_of(known: tuple[str, ...], value: str) -> Any:
    if value not in known:
        raise ValueError(f"{value!r} is none of {', '.join(known)}")
    return value
