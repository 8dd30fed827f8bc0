# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an operator decides about a model, whatever the model is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from yolov8_contract.errors import ConfigError
from yolov8_contract.image_header import ImageLimits
from yolov8_contract.parameters import DEFAULT_MAX_DET_LIMIT, ParameterPolicy, RequestParameters
from yolov8_contract.served_model import CPU_IMAGE_FORMATS, GPU_IMAGE_FORMATS, ServedModel
from yolov8_contract.task import Task
from yolov8_export.errors import OptionError

Preprocess = Literal["opencv", "dali"]
Engine = Literal["onnxruntime", "tensorrt", "openvino"]
Device = Literal["cpu", "gpu"]
Accelerator = Literal["cuda", "tensorrt"]
NetworkInput = Literal["fp32", "uint8"]
NetworkOutput = Literal["raw", "best-class"]
Precision = Literal["fp32", "fp16", "int8"]

PROFILES: dict[str, dict[str, Any]] = {
    "cpu": {"preprocess": "opencv", "engine": "onnxruntime", "device": "cpu", "instances": 3, "queue_delay_us": 0},
    "gpu": {"preprocess": "dali", "engine": "tensorrt", "device": "gpu", "instances": 1, "queue_delay_us": 500},
}
"""Presets of a deployment's choices; each may be said otherwise.

On a CPU with two cores a third copy computes while another one's tensors are on their way: 3 to 6 % more images a
second, and a single request is answered as soon. On a GPU a larger batch takes hardly longer than a small one, so
waiting half a millisecond for it pays, and a second instance mostly takes memory.
"""


def deployment_from(profile: str, **choices: Any) -> Deployment:
    """Return a profile's deployment with what is chosen otherwise; None chooses nothing.

    Raises:
        OptionError: The choices exclude each other, or a value is impossible.
    """
    return Deployment(**PROFILES[profile] | {name: value for name, value in choices.items() if value is not None})


def parse_gpus(text: str) -> tuple[int, ...]:
    """Read the numbers of GPUs: ``0,1``.

    Raises:
        OptionError: They are none.
    """
    texts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in texts):
        raise OptionError(f"--gpus: expected numbers such as 0,1; got {text!r}")
    return tuple(dict.fromkeys(int(part) for part in texts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """How a served model runs.

    Attributes:
        max_batch_size: Images that a member takes at once; the ensemble's requests carry one each.
        instances: Copies of the network that run side by side, on each GPU where there are several.
        threads: Threads of each copy; on a GPU, of the JPEG decoder.
        queue_size: Requests that may wait in front of the first member before further ones are refused.
        queue_timeout_s: How long a request may wait in front of a member before it is refused; 0 for as long as it
            takes. A request may ask for less.
        queue_delay_us: How long the network waits for a batch to fill. 0 batches what is waiting anyway on a GPU,
            and on a CPU nothing.
        limits: The largest image that is decoded.
        defaults: Request parameters where a request says nothing.
        max_det_limit: Requests may not ask for more objects.
        preprocess: What decodes and resizes; DALI does it on the GPU, and takes JPEG alone.
        engine: What runs the network.
        device: Where the network runs.
        gpus: Numbers of the GPUs to use; none for all that the server sees.
        accelerator: On a GPU, what runs the network for ONNX Runtime.
        network_input: What travels between preprocess and network.
        network_output: What travels between network and postprocess.
        precision: What the network's arithmetic is done in.
        cuda_graphs: Record the network's kernels once for each batch size, and replay them.
    """

    max_batch_size: int = 8
    instances: int = 3
    threads: int = 1
    queue_size: int = 64
    queue_timeout_s: float = 10.0
    queue_delay_us: int = 0
    limits: ImageLimits = field(default_factory=ImageLimits)
    defaults: RequestParameters = field(default_factory=RequestParameters)
    max_det_limit: int = DEFAULT_MAX_DET_LIMIT
    preprocess: Preprocess = "opencv"
    engine: Engine = "onnxruntime"
    device: Device = "cpu"
    gpus: tuple[int, ...] = ()
    accelerator: Accelerator = "cuda"
    network_input: NetworkInput = "fp32"
    network_output: NetworkOutput = "raw"
    precision: Precision = "fp32"
    cuda_graphs: bool = False

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "instances", "threads", "queue_size"):
            _check_at_least(1, name, getattr(self, name))
        for name in ("queue_timeout_s", "queue_delay_us"):
            _check_at_least(0, name, getattr(self, name))
        for impossible, problem in self._conflicts():
            if impossible:
                raise OptionError(problem)
        try:
            self.policy(Task.DETECT, num_classes=max(self.defaults.classes or (0,)) + 1)
        except ConfigError as exc:
            raise OptionError(str(exc)) from exc

    def policy(self, task: Task, *, num_classes: int) -> ParameterPolicy:
        """Return what a model makes of request parameters.

        Raises:
            ConfigError: The defaults are none that it would take.
        """
        if task is Task.CLASSIFY and self.defaults != RequestParameters():
            raise ConfigError("defaults of conf, iou, max_det, classes, agnostic mean nothing to a classifier")
        return ParameterPolicy(
            task=task, num_classes=num_classes, defaults=self.defaults, max_det_limit=self.max_det_limit
        )

    def _conflicts(self) -> list[tuple[bool, str]]:
        """Return whether what can't be had together is asked for, and what to say of it."""
        on_cpu, engine = self.device == "cpu", self.engine
        return [
            (on_cpu and engine == "tensorrt", "--network tensorrt: runs on a GPU alone; say --device gpu"),
            (not on_cpu and engine == "openvino", "--network openvino: runs on a CPU alone; say --device cpu"),
            (on_cpu and self.preprocess == "dali", "--preprocess dali: decodes on a GPU; say --device gpu"),
            (on_cpu and bool(self.gpus), f"--gpus {self.gpus}: the network is on the CPU; say --device gpu"),
            (
                (engine, self.precision, self.network_input) == ("openvino", "int8", "uint8"),
                "--network-input uint8: not with --network openvino in INT8",
            ),
            (
                (engine, self.precision, self.network_output) == ("openvino", "int8", "best-class"),
                "--network-output best-class: not with --network openvino in INT8",
            ),
            (self.cuda_graphs and engine != "tensorrt", "--cuda-graphs: Triton has them for --network tensorrt alone"),
        ]

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The batch sizes worth preparing the network for: 1, 2, 4 … and the largest."""
        powers = [1 << exponent for exponent in range(self.max_batch_size.bit_length())]
        return tuple(sorted({*powers, self.max_batch_size}))


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationData:
    """The images with which a lower precision is calibrated and judged.

    Attributes:
        calibration: Folder of about 100 images like those to be served; ``--precision int8`` needs it.
        evaluation: Folder of images on which the reduced network is compared with FP32; a third of the calibration
            images by default.
        truth: COCO annotation file of the evaluation images; with it, mAP50-95 decides.
        max_map_loss: Largest loss of mAP50-95, if annotations are given.
        min_matched: Smallest share of objects that FP32 and the reduced network must both find, without annotations.
    """

    calibration: Path | None = None
    evaluation: Path | None = None
    truth: Path | None = None
    max_map_loss: float = 0.01
    min_matched: float = 0.9


def as_served(model: ServedModel, deployment: Deployment) -> ServedModel:
    """Return a model with what its deployment adds: which images it takes, and what travels between its members.

    Raises:
        OptionError: The model can't be served so.
    """
    formats = GPU_IMAGE_FORMATS if deployment.preprocess == "dali" else CPU_IMAGE_FORMATS
    try:
        return replace(
            model,
            image_formats=formats,
            network_input=deployment.network_input,
            network_output=deployment.network_output,
        )
    except ConfigError as exc:
        raise OptionError(str(exc).replace("network_output", "--network-output")) from exc


def _check_at_least(least: int, name: str, value: float) -> None:
    if not least <= value < float("inf"):
        raise OptionError(f"--{name.replace('_', '-')}: expected at least {least}, got {value}")
