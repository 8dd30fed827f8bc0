# SPDX-License-Identifier: AGPL-3.0-or-later
"""Write the Triton configurations of a served model: its composing models (members) and its ensemble.

They have only fields that Triton 24.10 knows. The same model and deployment give the same text, byte for byte: nothing
in it comes from a clock, a path or a version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from tritonclient.grpc import model_config_pb2 as pb

from yolov8_contract import signature
from yolov8_contract.parameters import ParameterPolicy
from yolov8_contract.served_model import ServedModel
from yolov8_contract.signature import Head
from yolov8_contract.task import Task
from yolov8_contract.tensors import Signature
from yolov8_export.config import parts
from yolov8_export.config.deployment import Deployment
from yolov8_export.config.parts import (
    CONTRACT_VERSION,
    bound_first,
    bound_later,
    inputs,
    member,
    newest,
    outputs,
    put_on_gpus,
    set_parameters,
)
from yolov8_export.config.tuning import Tuning
from yolov8_export.model_code import warmup_picture
from yolov8_export.ultralytics_metadata import ultralytics_metadata

LATEST = -1
"""The version of its composing models that an ensemble runs."""

TO_POSTPROCESS = {
    signature.ORIG_SHAPE.name: "preprocessed_shape",
    signature.TIMINGS.name: "preprocessed_timings",
}
"""The ensemble's names of what the first members pass to postprocess, which returns it."""

DALI_FILE = "dali.py"
ONNX_FILE = "model.onnx"
PLAN_FILE = "model.plan"
IR_FILE = "model.xml"
TORCHSCRIPT_FILE = "model.pt"
SAVED_MODEL = "model.savedmodel"
"""The folder that the tensorflow backend loads."""
TORCHSCRIPT_PLATFORM = "pytorch_libtorch"
ENGINE_CACHE = "/tmp/yolov8-triton-engines"
"""The folder inside the container where ONNX Runtime keeps the TensorRT engines that it builds, to mount a volume at.
"""

_CUDNN_HEURISTIC = "1"
"""The backend's parameter ``cudnn_conv_algo_search``: 0 tries each algorithm on the first run of each batch size, which
takes seconds. The backend overwrites the option of the same name that its execution accelerator has.
"""
HW_DECODER_LOAD = "hw_decoder_load"
"""The parameter from which DALI's graph gets its setting of this name, when the model is written."""
_KEEP_ON_GPU = {"FORCE_CPU_ONLY_INPUT_TENSORS": "no"}
"""Without it, the embedded server copies DALI's images to the host for a network. Triton's own backends ignore it."""
_TAKE_GPU_TENSORS = ("onnxruntime", "pytorch", "tensorrt")
"""The engines whose backends in the embedded server read tensors on the GPU."""
BF16 = "HINT_BF16"
"""The parameter with which OpenVINO computes in BF16 what is FP32 in the network."""
TF32 = "tf32"
"""The parameter that tells ``build_plans.py`` whether the network may round to TF32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModelSpec:
    """A model and the settings with which it is served.

    Attributes:
        name: The name of the ensemble.
        model: The served model.
        head: The shapes of the network's outputs without the batch axis.
        stride: Height and width of an input must be multiples of this number of pixels.
        deployment: The settings with which the model is served.
        single_images: Whether the network may run only one image at a time.
    """

    name: str
    model: ServedModel
    head: Head
    stride: int
    deployment: Deployment
    single_images: bool = False

    def configs(self) -> dict[str, pb.ModelConfig]:
        """Return the configurations that export writes for the model, by model name, the ensemble's last.

        Raises:
            ConfigError: The deployment's defaults don't fit the model, or ``head`` is not one of its task.
        """
        policy = self.deployment.policy(self.model.task, num_classes=len(self.model.labels), has_nms=self.model.has_nms)
        members = _first_members(self.name, self.model, policy, self.deployment)
        of_network = replace(self.deployment, max_batch_size=1) if self.single_images else self.deployment
        members.append(network_config(self.name, self.model, self.head, stride=self.stride, deployment=of_network))
        if self.model.task is not Task.CLASSIFY:
            members.append(_postprocess(self.name, self.model, self.head, policy, self.deployment))
        for config in members:
            parts.add_priority_levels(config, self.deployment.priority_levels)
        ensemble = _ensemble(self.name, self.model, members, self.deployment)
        return {config.name: config for config in (*members, ensemble)}

    def custom_configs(self, config_name: str, tuning: Tuning) -> dict[str, pb.ModelConfig]:
        """Return the configurations that differ on another kind of machine; Triton reads ``config.pbtxt`` for the rest.

        Args:
            config_name: The name of the custom model configuration. A TensorRT plan is named after it, since it runs
                on one kind of GPU.
            tuning: The settings for that machine.

        Raises:
            OptionError: The deployment can't have these settings.
        """
        base = self.configs()
        configs = replace(self, deployment=tuning.apply_to(self.deployment)).configs()
        if self.deployment.engine == "tensorrt":
            configs[f"{self.name}_network"].default_model_filename = plan_file(config_name)
        return {name: config for name, config in configs.items() if config != base[name]}


def _first_members(
    name: str, model: ServedModel, policy: ParameterPolicy, deployment: Deployment
) -> list[pb.ModelConfig]:
    """Return the members before the network; the first checks requests, bounds the queue, and decodes without DALI."""
    if deployment.preprocess == "dali":
        first = member(f"{name}_check", "python", signature.check(model), deployment)
    else:
        first = member(f"{name}_preprocess", "python", signature.preprocess(model), deployment)
    first.instance_group[0].count = (
        deployment.check_instances if deployment.preprocess == "dali" else deployment.decoders
    )
    bound_first(first, deployment)
    set_parameters(first, model.to_parameters() | policy.to_parameters() | deployment.limits.to_parameters())
    return [first, _dali(name, model, deployment)] if deployment.preprocess == "dali" else [first]


def _dali(name: str, model: ServedModel, deployment: Deployment) -> pb.ModelConfig:
    """Return the DALI member."""
    config = member(f"{name}_preprocess", "dali", signature.checked_preprocess(model), deployment)
    config.default_model_filename = DALI_FILE
    config.instance_group[0].count = deployment.decoders
    put_on_gpus(config, deployment.gpus)
    # The first batch fixes the share of the hardware decoder, so it must be a full one. It also sets up the buffers.
    sizes = sorted({1, deployment.max_batch_size}, reverse=True)
    config.model_warmup.extend(parts.file(sizes, signature.CHECKED_IMAGE, warmup_picture()))
    parameters = {
        "num_threads": str(deployment.decode_threads),
        HW_DECODER_LOAD: f"{deployment.hw_decoder_load:g}",
        CONTRACT_VERSION: model.to_parameters()[CONTRACT_VERSION],
    }
    set_parameters(config, parameters)
    bound_later(config, deployment)
    return config


def _postprocess(
    name: str, model: ServedModel, head: Head, policy: ParameterPolicy, deployment: Deployment
) -> pb.ModelConfig:
    config = member(f"{name}_postprocess", "python", signature.postprocess(model, head), deployment)
    config.instance_group[0].count = deployment.postprocess_instances
    bound_later(config, deployment)
    set_parameters(config, model.to_parameters() | policy.to_parameters())
    return config


def _ensemble(
    name: str, model: ServedModel, members: Iterable[pb.ModelConfig], deployment: Deployment
) -> pb.ModelConfig:
    tensors = signature.ensemble(model)
    config = pb.ModelConfig(
        name=name,
        platform="ensemble",
        max_batch_size=1,
        version_policy=newest(),
        input=inputs(tensors.inputs),
        output=outputs(tensors.outputs),
    )
    config.ensemble_scheduling.step.extend(ensemble_steps(members, model.task))
    config.ensemble_scheduling.max_inflight_requests = deployment.max_inflight
    set_parameters(config, model.to_parameters())
    return config


def ensemble_steps(members: Iterable[pb.ModelConfig], task: Task) -> list[pb.ModelEnsembling.Step]:
    """Return the steps of an ensemble, which pass the members' tensors on."""
    return [
        pb.ModelEnsembling.Step(
            model_name=member.name,
            model_version=LATEST,
            input_map={tensor.name: passed.get(tensor.name, tensor.name) for tensor in member.input},
            output_map={tensor.name: answers.get(tensor.name, tensor.name) for tensor in member.output},
        )
        for member, passed, answers in _renamed(list(members), task)
    ]


def _renamed(
    members: list[pb.ModelConfig], task: Task
) -> Iterator[tuple[pb.ModelConfig, Mapping[str, str], Mapping[str, str]]]:
    """Yield each member and those of its inputs and outputs that have another name in the ensemble.

    The output of a classifier's network is the answer. With a postprocess member, what it passes on has a name of
    its own on the way there: if a request asks only for an output that a member reads, too, Triton removes the member
    that makes it and fails with "unexpected deadlock".
    """
    if task is Task.CLASSIFY:
        for member in members:
            yield member, {}, {"output0": signature.CLASS_SCORES}
        return
    *before, last = members
    for member in before:
        yield member, {}, TO_POSTPROCESS
    yield last, TO_POSTPROCESS, {}


def network_config(name: str, model: ServedModel, head: Head, *, stride: int, deployment: Deployment) -> pb.ModelConfig:
    """Return the configuration of ``NAME_network``.

    Raises:
        ConfigError: ``head`` is not one of the model's task.
    """
    tensors = signature.network(model, head)
    config = member(f"{name}_network", deployment.engine, tensors, deployment)
    config.default_model_filename = loaded_file(deployment)
    config.instance_group[0].count = deployment.instances
    _set_batching(config, deployment)
    bound_later(config, deployment)
    set_parameters(config, {CONTRACT_VERSION: model.to_parameters()[CONTRACT_VERSION]})
    set_parameters(config, {"metadata": ultralytics_metadata(model, stride)})
    if deployment.device == "gpu":
        put_on_gpus(config, deployment.gpus)
        set_parameters(config, _KEEP_ON_GPU if deployment.engine in _TAKE_GPU_TENSORS else {})
        # The first run of each batch size sets up kernels and buffers.
        config.model_warmup.extend(parts.zeros(deployment.batch_sizes, tensors))
    if deployment.engine == "onnxruntime":
        _set_onnxruntime(config, tensors, deployment)
    elif deployment.engine == "openvino":
        _set_openvino(config, deployment)
    elif deployment.engine == "pytorch":
        _set_pytorch(config, deployment)
    elif deployment.engine == "tensorflow":
        _set_tensorflow(config, deployment)
    else:
        _set_tensorrt(config, deployment)
    return config


def _set_batching(config: pb.ModelConfig, deployment: Deployment) -> None:
    """Let a network on a CPU run single requests, since a batch takes as long as its images one by one.

    Another instance might be idle meanwhile. Measured with two instances and 8 requests in flight: single requests give
    the same throughput as batches, and half the p99.
    """
    config.dynamic_batching.max_queue_delay_microseconds = deployment.queue_delay_us
    if deployment.device == "cpu" and deployment.queue_delay_us == 0:
        config.dynamic_batching.preferred_batch_size.append(1)


def plan_file(config_name: str) -> str:
    """Return the file name of the plan of a custom model configuration; ``config.pbtxt`` has `PLAN_FILE`."""
    return f"model-{config_name}.plan"


def loaded_file(deployment: Deployment) -> str:
    """Return the name of the file that the engine loads; the ONNX file always lies beside it."""
    if deployment.engine == "tensorrt":
        return PLAN_FILE
    if deployment.engine == "pytorch":
        return TORCHSCRIPT_FILE
    if deployment.engine == "tensorflow":
        return SAVED_MODEL
    return IR_FILE if (deployment.engine, deployment.precision) == ("openvino", "int8") else ONNX_FILE


def _set_onnxruntime(config: pb.ModelConfig, tensors: Signature, deployment: Deployment) -> None:
    if deployment.device == "cpu":
        set_parameters(config, {"intra_op_thread_count": str(deployment.threads), "inter_op_thread_count": "1"})
        return
    if deployment.accelerator == "cuda":
        set_parameters(config, {"cudnn_conv_algo_search": _CUDNN_HEURISTIC})
        options = {"use_tf32": "1" if deployment.tf32 else "0"}
    else:
        options = _tensorrt_options(tensors, deployment)
    config.optimization.execution_accelerators.gpu_execution_accelerator.add(
        name=deployment.accelerator, parameters=options
    )


def _tensorrt_options(tensors: Signature, deployment: Deployment) -> dict[str, str]:
    """Return options that build one engine for all batch sizes, in the precision of the graph."""
    (images,) = tensors.inputs
    shape = "x".join(map(str, images.shape))
    shapes = {"min": 1, "opt": deployment.max_batch_size, "max": deployment.max_batch_size}
    profile = {f"trt_profile_{name}_shapes": f"{images.name}:{size}x{shape}" for name, size in shapes.items()}
    return profile | {
        "trt_engine_cache_enable": "true",
        "trt_engine_cache_path": ENGINE_CACHE,
        "trt_timing_cache_enable": "true",
        "trt_timing_cache_path": ENGINE_CACHE,
    }


def _set_openvino(config: pb.ModelConfig, deployment: Deployment) -> None:
    # The backend fixes the network's batch at max_batch_size and refuses others; on a CPU single images are as fast.
    config.max_batch_size = 1
    parameters = {
        "NUM_STREAMS": str(deployment.instances),
        "INFERENCE_NUM_THREADS": str(deployment.instances * deployment.threads),
    }
    set_parameters(config, parameters | ({BF16: "YES"} if deployment.precision == "bf16" else {}))


def _set_pytorch(config: pb.ModelConfig, deployment: Deployment) -> None:
    """Name the kind of model file, and on a CPU limit the threads, of which Triton's backend has one pool.

    The names of the tensors are the contract's: the backend takes an input by the name of the argument of ``forward``,
    or else by its place, and an output without ``__`` in its name by its place.
    """
    config.platform = TORCHSCRIPT_PLATFORM
    if deployment.device == "cpu":
        set_parameters(config, {"INTRA_OP_THREAD_COUNT": str(deployment.threads), "INTER_OP_THREAD_COUNT": "1"})


def _set_tensorflow(config: pb.ModelConfig, deployment: Deployment) -> None:
    """Limit the threads on a CPU; TF32 is off on a GPU unless it is asked for."""
    if deployment.device == "cpu":
        set_parameters(config, {"INTRA_OP_THREAD_COUNT": str(deployment.threads), "INTER_OP_THREAD_COUNT": "1"})
    elif deployment.tf32:
        set_parameters(config, {TF32: "true"})


def _set_tensorrt(config: pb.ModelConfig, deployment: Deployment) -> None:
    """Set the options of Triton's TensorRT backend, and what ``build_plans.py`` reads."""
    if deployment.tf32:
        set_parameters(config, {TF32: "true"})
    if deployment.batch_profiles:
        # For each batch, the backend takes the profile whose best size is nearest.
        config.instance_group[0].profile.extend(["0", "1"])
    if deployment.cuda_graphs:
        config.optimization.cuda.graphs = True
        for size in range(1, deployment.max_batch_size + 1):  # a size without a graph runs without one
            spec = config.optimization.cuda.graph_spec.add(batch_size=size)
            for tensor in config.input:
                spec.input[tensor.name].dim.extend(tensor.dims)
