# SPDX-License-Identifier: AGPL-3.0-or-later
"""Define the settings that an operator chooses for a served model."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, field, fields, replace
from typing import Any

from yolov8_contract.errors import ConfigError
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import DEFAULT_MAX_DET_LIMIT, ParameterPolicy, RequestParameters
from yolov8_contract.task import Task
from yolov8_export.choices import (
    Accelerator,
    Device,
    Engine,
    NetworkInput,
    NetworkOutput,
    Precision,
    Preprocess,
    Profile,
)
from yolov8_export.errors import OptionError

RANGES = {
    "max_batch_size": (1, 4096),
    "instances": (1, 1024),
    "threads": (1, 1024),
    "check_instances": (2, 1024),
    "preprocess_instances": (1, 1024),
    "postprocess_instances": (1, 1024),
    "decode_threads": (1, 1024),
    "hw_decoder_load": (0, 1),
    "max_inflight": (0, 1_000_000),
    "queue_size": (1, 1_000_000),
    "queue_timeout_s": (0, 86_400),
    "queue_delay_us": (0, 60_000_000),
    "priority_levels": (0, 16),
    "max_det_limit": (1, 1_000_000),
    "max_slices": (0, 4096),
    "max_candidates": (2, 3840),
}
"""The least and the largest value of settings; a configuration has no room for numbers of any size, and TensorRT's TopK
takes 3840 elements at most."""
DEFAULT_MAX_CANDIDATES = 1000
"""Enough for COCO's images and a ``conf`` of 0.01; some 200 of their anchors are above the default, 0.25."""
LEAST_CONF_OF_CANDIDATES = 0.01
"""With a lower ``conf``, ordinary images have more anchors above it than the default number of candidates."""
MAX_GPU = 1023
MAX_CUDA_GRAPHS = 64
MAX_PIXELS = 1 << 30
"""OpenCV decodes no larger image."""
MAX_BYTES = (1 << 31) - 1
"""The largest message of gRPC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """The settings with which a model is served.

    The first sentence of each attribute is the help text of its command line option.

    Attributes:
        max_batch_size: Largest batch of each composing model. A request to the ensemble carries one image.
        instances: Model instances of the network that run side by side, on each GPU.
        threads: Threads of each model instance of a network on the CPU.
        check_instances: Model instances of check, which looks at a JPEG before DALI decodes it.
        preprocess_instances: Model instances of preprocess, on each GPU with DALI. None stands for 2 with OpenCV, and
            for 1 with DALI, where another one takes memory for its own buffers.
        postprocess_instances: Model instances of postprocess, each a process on one core of the CPU.
        decode_threads: Threads with which DALI decodes the parts of JPEGs that a GPU does not.
        hw_decoder_load: Share of a batch's JPEGs for the GPU's hardware decoder, where it has one (DALI only).
        queue_size: Number of requests that may wait for the first composing model; further ones are refused.
        queue_timeout_s: Longest time that a request waits for a composing model before it is refused; 0 sets no limit.
            A request may ask for a shorter time. None stands for `sensible_queue_timeout_s`, which export chooses.
        queue_delay_us: Longest time that the network waits for a batch to fill. With 0, a network on a GPU batches
            the requests that wait anyway, and a network on a CPU runs each request by itself.
        priority_levels: Number of levels among which a request may choose with `priority`, 1 being the first served; 0
            for no levels.
        limits: The largest image that is decoded.
        defaults: The values of request parameters that a request leaves out.
        max_det_limit: Largest max_det that a request may ask for.
        max_slices: Largest number of tiles into which a request may cut its image (parameter slice); 0 allows none.
        timings: Let requests ask where their time went (parameter timings).
        preprocess: Library that decodes and resizes images: opencv on the CPU, or dali on the GPU (JPEG only).
        engine: Inference engine that runs the network.
        device: Device that runs the network.
        gpus: Numbers of the GPUs to use, such as 0,1. If it is empty, all GPUs that the server sees are used.
        accelerator: Execution provider with which ONNX Runtime runs a network on a GPU.
        network_input: Type of the pixels that preprocess passes to the network; uint8 takes a quarter of the bytes,
            and excludes Ultralytics' own client. auto is fp32 for PyTorch and TensorFlow on a CPU, where files are then
            served as they are, and otherwise uint8.
        network_output: Scores that the network passes to postprocess: all classes of each anchor (raw), only the best
            class (best-class), or that of the best anchors (candidates); the last two exclude Ultralytics' own client.
            With candidates, a request is answered as with the others, or refused if its `conf` lets in too many. auto
            is raw for PyTorch and TensorFlow on a CPU, and otherwise best-class where the model has it.
        max_candidates: Number of anchors that the network passes to postprocess (--network-output candidates only).
        precision: Precision of the network's arithmetic; fp16 and bf16 need --evaluation, int8 needs --calibration.
        tf32: Let a GPU round the inputs of FP32 convolutions to 10 bits of mantissa (TF32), for speed.
        cuda_graphs: Record the network's CUDA graph for each batch size and replay it (TensorRT only).
        batch_profiles: Build a TensorRT plan with a profile for single images besides that for batches; it is
            faster for a lone request, and takes memory for the activations of both.
        max_inflight: Largest number of requests inside the ensemble; further ones wait. 0 sets no limit, as servers
            before Triton 25.11 know none and refuse the configuration.
    """

    max_batch_size: int = 8
    instances: int = 3
    threads: int = 1
    check_instances: int = 2
    preprocess_instances: int | None = None
    postprocess_instances: int = 1
    decode_threads: int = 4
    hw_decoder_load: float = 0.9
    queue_size: int = 64
    queue_timeout_s: float | None = None
    queue_delay_us: int = 0
    priority_levels: int = 0
    limits: ImageLimits = field(default_factory=ImageLimits)
    defaults: RequestParameters = field(default_factory=RequestParameters)
    max_det_limit: int = DEFAULT_MAX_DET_LIMIT
    max_slices: int = 0
    timings: bool = False
    preprocess: Preprocess = "opencv"
    engine: Engine = "onnxruntime"
    device: Device = "cpu"
    gpus: tuple[int, ...] = ()
    accelerator: Accelerator = "cuda"
    network_input: NetworkInput = "auto"
    network_output: NetworkOutput = "auto"
    max_candidates: int = DEFAULT_MAX_CANDIDATES
    precision: Precision = "fp32"
    tf32: bool = False
    cuda_graphs: bool = False
    batch_profiles: bool = False
    max_inflight: int = 0

    def __post_init__(self) -> None:
        for name, (least, most) in RANGES.items():
            if (value := getattr(self, name)) is not None:
                _check_range(name, value, least, most)
        for number in self.gpus:
            _check_range("gpus", number, 0, MAX_GPU)
        _check_range("max_pixels", self.limits.max_pixels, 1, MAX_PIXELS)
        _check_range("max_bytes", self.limits.max_bytes, 1, MAX_BYTES)
        for is_violated, message in self._conflicts():
            if is_violated:
                raise OptionError(message)
        try:
            self.policy(Task.DETECT, num_classes=max(self.defaults.classes or (0,)) + 1)
        except ConfigError as exc:
            raise OptionError(str(exc)) from exc

    def policy(self, task: Task, *, num_classes: int, has_nms: bool = True) -> ParameterPolicy:
        """Return the rules for request parameters of a model.

        Raises:
            ConfigError: The model would refuse the default values.
        """
        if task is Task.CLASSIFY and self.defaults != RequestParameters():
            raise ConfigError("--conf, --iou, --max-det, --classes and --agnostic have no effect on a classifier")
        return ParameterPolicy(
            task=task,
            num_classes=num_classes,
            defaults=self.defaults,
            max_det_limit=self.max_det_limit,
            max_slices=self.max_slices,
            timings=self.timings,
            has_nms=has_nms,
        )

    @property
    def uses_tensorrt(self) -> bool:
        """Whether TensorRT runs the network, by its own backend or within ONNX Runtime."""
        return self.engine == "tensorrt" or (
            self.device == "gpu" and (self.engine, self.accelerator) == ("onnxruntime", "tensorrt")
        )

    @property
    def keeps_files(self) -> bool:
        """Whether a file of the engine's own format is served as it is, unless its tensors are to be others."""
        return self.engine in ("pytorch", "tensorflow") and self.device == "cpu"

    @property
    def decoders(self) -> int:
        """The model instances of preprocess."""
        return self.preprocess_instances or (1 if self.preprocess == "dali" else 2)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes that the network is prepared for: the powers of 2, and the largest size."""
        powers = [1 << exponent for exponent in range(self.max_batch_size.bit_length())]
        return tuple(sorted({*powers, self.max_batch_size}))

    def _conflicts(self) -> list[tuple[bool, str]]:
        """List the invalid option combinations as (is_violated, error_message)."""
        on_cpu, engine = self.device == "cpu", self.engine
        return [
            (on_cpu and engine == "tensorrt", "--network tensorrt runs only on a GPU: add --device gpu"),
            (not on_cpu and engine == "openvino", "--network openvino runs only on a CPU: add --device cpu"),
            (on_cpu and self.preprocess == "dali", "--preprocess dali decodes on a GPU: add --device gpu"),
            (on_cpu and bool(self.gpus), f"--gpus {joined(self.gpus)}: the network runs on the CPU: add --device gpu"),
            (
                bool(self.max_slices) and self.preprocess == "dali",
                f"--max-slices {self.max_slices}: DALI cuts no images: add --preprocess opencv",
            ),
            (
                self.max_candidates != DEFAULT_MAX_CANDIDATES and self.network_output != "candidates",
                f"--max-candidates {self.max_candidates} has an effect only with --network-output candidates",
            ),
            (
                engine == "pytorch" and self.network_output == "candidates",
                "--network-output candidates is not possible with --network pytorch: leave it out, or say best-class",
            ),
            (
                engine != "openvino" and self.precision == "bf16",
                "--precision bf16 is for CPUs that compute in it: add --network openvino",
            ),
            (
                engine == "pytorch" and self.precision == "int8",
                "--precision int8 is not possible with --network pytorch: say fp16, or choose another network",
            ),
            (
                engine == "tensorflow" and self.precision != "fp32",
                f"--precision {self.precision} is not possible with --network tensorflow, which runs in FP32",
            ),
            (self.cuda_graphs and engine != "tensorrt", "--cuda-graphs is possible only with --network tensorrt"),
            (
                self.cuda_graphs and self.max_batch_size > MAX_CUDA_GRAPHS,
                f"--cuda-graphs: there is one for each batch size, at most {MAX_CUDA_GRAPHS}: lower --max-batch-size",
            ),
            (self.batch_profiles and engine != "tensorrt", "--batch-profiles is possible only with --network tensorrt"),
            (
                self.batch_profiles and self.max_batch_size == 1,
                "--batch-profiles: with --max-batch-size 1 there are no batches to build a profile for",
            ),
            (on_cpu and self.tf32, "--tf32: the network runs on the CPU: add --device gpu"),
            (
                self.tf32 and (engine == "pytorch" or (engine, self.accelerator) == ("onnxruntime", "tensorrt")),
                "--tf32: PyTorch and ONNX Runtime's TensorRT provider have no such option: use --network tensorrt",
            ),
            (
                self.preprocess == "opencv" and self.preprocess_instances == 1,
                "--preprocess-instances 1: the first composing model needs 2, because its queue has limits",
            ),
        ]

    def check_effective(self) -> None:
        """Refuse settings that this deployment has no use for.

        Another deployment of the same model may have one, so they are kept where configurations are written anew.

        Raises:
            OptionError: A setting that is not the default would do nothing.
        """
        usual = {item.name: item.default for item in fields(self)}
        of_dali = () if self.preprocess == "dali" else ("check_instances", "decode_threads", "hw_decoder_load")
        for name in of_dali:
            if getattr(self, name) != usual[name]:
                option = f"--{name.replace('_', '-')}"
                raise OptionError(f"{option} has an effect only with --preprocess dali: leave it out")
        if self.device == "gpu" and self.threads != usual["threads"]:
            instead = "; DALI's are --decode-threads" if self.preprocess == "dali" else ""
            raise OptionError(f"--threads has an effect only on a network on the CPU: leave it out{instead}")


def deployment_from(profile: Profile, **changes: Any) -> Deployment:
    """Return the deployment of a profile with some settings changed; None changes nothing.

    Raises:
        OptionError: A value is impossible, or two settings exclude each other.

    Example:
        >>> deployment_from("gpu", instances=2).engine
        'tensorrt'
    """
    return replace(PROFILES[profile], **{name: value for name, value in changes.items() if value is not None})


LEAST_QUEUE_TIMEOUT_S, MOST_QUEUE_TIMEOUT_S = 1.0, 10.0
_WAITING_IMAGES = 16
"""The images that may wait: twice as many as a client of ours keeps in flight, since machines are busy at times."""
_SECONDS_PER_PARAMETER_AND_PIXEL = 7e-14
"""Two cores take 0.06 to 0.09 s for an image of yolov8n (3.2 million parameters) at 640 pixels; others in proportion.
"""


def sensible_queue_timeout_s(parameters: int, imgsz: tuple[int, int], device: Device) -> float:
    """Return a time limit for each queue that protects a server from callers without a ``timeout`` of their own.

    Under overload, requests wait for as long as they may. With this limit they are still answered before a deadline of
    two seconds, and a client with 16 images in flight is not refused, although the network is slow.

    Args:
        parameters: The number of the network's weights.
        imgsz: Height and width of its input.
        device: The device that runs it; a GPU is always fast enough for the lowest limit.
    """
    if device == "gpu":
        return LEAST_QUEUE_TIMEOUT_S
    image_s = parameters * imgsz[0] * imgsz[1] * _SECONDS_PER_PARAMETER_AND_PIXEL
    rounded = round(_WAITING_IMAGES * image_s / 0.5) * 0.5  # retrained weights get the same limit
    return round(min(max(rounded, LEAST_QUEUE_TIMEOUT_S), MOST_QUEUE_TIMEOUT_S), 2)


def parse_gpus(text: str) -> tuple[int, ...]:
    """Parse the numbers of GPUs such as ``0,1``, or ``all``, which gives an empty tuple.

    Raises:
        OptionError: The text is neither.
    """
    if text.strip() == "all":
        return ()
    texts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in texts):
        raise OptionError(f"--gpus: expected numbers such as 0,1, or all; got {text!r}")
    return tuple(dict.fromkeys(int(part) for part in texts))


def joined(numbers: tuple[int, ...]) -> str:
    """Return numbers with commas between them, as options take them."""
    return ",".join(map(str, numbers))


def _check_range(name: str, value: float, least: int, most: int) -> None:
    if not least <= value <= most:
        expected = f"at most {most}" if value > most else f"at least {least}"
        raise OptionError(f"--{name.replace('_', '-')}: expected {expected}, got {reprlib.repr(value)}")


PROFILES: dict[Profile, Deployment] = {
    "cpu": Deployment(),
    "gpu": Deployment(
        preprocess="dali",
        engine="tensorrt",
        device="gpu",
        instances=2,
        postprocess_instances=2,
    ),
}
"""The deployments to start from; each setting can be changed.

On a CPU, a model instance is idle while its tensors are copied to the next model. One instance more than there are
cores fills that gap: on two cores, a third one serves 3 to 6 % more images a second, and a single request is as fast.
On a GPU, the queue has limits, and so two instances; each holds the weights. The network does not wait for batches:
those requests that come while it runs are its next batch.
"""
