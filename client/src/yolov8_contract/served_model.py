# SPDX-License-Identifier: Apache-2.0
"""What a deployment says of its model, and how that travels in ``config.pbtxt``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ConfigError
from .task import Task

CONTRACT_VERSION = 1
"""Raised when a client or a model of the older version could misread the newer one."""

CPU_IMAGE_FORMATS = ("jpeg", "png", "webp", "bmp")
GPU_IMAGE_FORMATS = ("jpeg",)
NETWORK_INPUTS = ("fp32", "uint8")
NETWORK_OUTPUTS = ("raw", "best-class")
MIN_CLASSES_TO_REDUCE = 3
"""A best score and its class are two rows: of fewer classes nothing is saved, and of two a head's shape would not tell
which it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """The facts about a network that preprocessing, postprocessing and clients need.

    Attributes:
        task: What the network was trained for.
        labels: Class names; a class id is an index into them.
        imgsz: Height and width of the network's input in pixels.
        kpt_shape: For pose, keypoints per object and values per keypoint (2: x, y; 3: x, y, visibility).
        image_formats: Encoded formats that requests may carry.
        network_input: Between preprocess and network, ``fp32`` planes from 0 to 1, or ``uint8`` pixels (red, green,
            blue) that the network scales and transposes itself: a quarter of the bytes.
        network_output: Between network and postprocess, of each anchor the ``raw`` scores of all classes, or the
            ``best-class``: its score and its index.
    """

    task: Task
    labels: tuple[str, ...]
    imgsz: tuple[int, int]
    kpt_shape: tuple[int, int] | None = None
    image_formats: tuple[str, ...] = CPU_IMAGE_FORMATS
    network_input: str = "fp32"
    network_output: str = "raw"

    def __post_init__(self) -> None:
        if not self.labels:
            raise ConfigError("labels: expected at least one class name, got none")
        if len(self.imgsz) != 2 or min(self.imgsz) < 1:
            raise ConfigError(f"imgsz: expected height and width in pixels, got {self.imgsz!r}")
        if (self.kpt_shape is not None) != (self.task is Task.POSE):
            raise ConfigError(f"kpt_shape: goes with task 'pose', got {self.kpt_shape!r} for {self.task.value!r}")
        if self.kpt_shape is not None and (self.kpt_shape[0] < 1 or self.kpt_shape[1] not in (2, 3)):
            raise ConfigError(f"kpt_shape: expected [keypoints, 2 or 3], got {list(self.kpt_shape)}")
        if self.network_input not in NETWORK_INPUTS:
            raise ConfigError(f"network_input: expected one of {list(NETWORK_INPUTS)}, got {self.network_input!r}")
        self._check_output()

    def _check_output(self) -> None:
        if self.network_output not in NETWORK_OUTPUTS:
            raise ConfigError(f"network_output: expected one of {list(NETWORK_OUTPUTS)}, got {self.network_output!r}")
        if self.network_output == "raw":
            return
        if self.task is Task.CLASSIFY:
            raise ConfigError("network_output best-class: a classifier's probabilities are its answer, all of them")
        if len(self.labels) < MIN_CLASSES_TO_REDUCE:
            raise ConfigError(
                f"network_output best-class: saves nothing with fewer than {MIN_CLASSES_TO_REDUCE} classes, "
                f"got {len(self.labels)}"
            )

    @property
    def score_rows(self) -> int:
        """How many rows of a head follow its boxes and say what each anchor shows."""
        return len(self.labels) if self.network_output == "raw" else 2

    def to_parameters(self) -> dict[str, str]:
        """Return the ``parameters`` of ``config.pbtxt`` that say the same: JSON texts by name."""
        values: dict[str, Any] = {
            "contract_version": CONTRACT_VERSION,
            "task": self.task.value,
            "labels": self.labels,
            "imgsz": self.imgsz,
            "image_formats": self.image_formats,
        }
        if self.kpt_shape is not None:
            values["kpt_shape"] = self.kpt_shape
        if self.network_input != "fp32":
            values["network_input"] = self.network_input
        if self.network_output != "raw":
            values["network_output"] = self.network_output
        return {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ServedModel:
        """Read the ``parameters`` of a model configuration in JSON form.

        Raises:
            ConfigError: One is missing or malformed, or the contract's version is another.
        """
        version = read_parameter(config, "contract_version")
        if version != CONTRACT_VERSION:
            raise ConfigError(
                f"{_where(config)}: contract_version is {version!r}, this code speaks {CONTRACT_VERSION}; "
                "export the model again, or use the release that it was exported with"
            )
        task = read_parameter(config, "task")
        if task not in {known.value for known in Task}:
            raise ConfigError(f"{_where(config)}: task {task!r} is none of {[known.value for known in Task]}")
        kpt_shape = read_parameter(config, "kpt_shape") if Task(task) is Task.POSE else None
        try:
            return cls(
                task=Task(task),
                labels=tuple(str(label) for label in read_parameter(config, "labels")),
                imgsz=_pair(read_parameter(config, "imgsz")),
                kpt_shape=None if kpt_shape is None else _pair(kpt_shape),
                image_formats=tuple(str(name) for name in read_parameter(config, "image_formats")),
                network_input=_said_or(config, "network_input", "fp32"),
                network_output=_said_or(config, "network_output", "raw"),
            )
        except (TypeError, ValueError) as exc:
            raise ConfigError(f"{_where(config)}: {exc}") from exc


def read_parameter(config: Mapping[str, Any], name: str) -> Any:
    """Return one JSON parameter of a model configuration in JSON form.

    Raises:
        ConfigError: It is missing or is not JSON.
    """
    try:
        text = config["parameters"][name]["string_value"]
    except KeyError:
        raise ConfigError(
            f"{_where(config)}: parameter {name!r} is missing; was this model exported by yolov8-triton?"
        ) from None
    try:
        return json.loads(text)
    except ValueError as exc:
        raise ConfigError(f"{_where(config)}: parameter {name!r} is not JSON: {text!r}") from exc


def _said_or(config: Mapping[str, Any], name: str, default: str) -> str:
    """Return a parameter that is written only where it is not the default."""
    return str(read_parameter(config, name)) if name in config["parameters"] else default


def _where(config: Mapping[str, Any]) -> str:
    return f"model {config.get('name', '?')!r}"


def _pair(value: Any) -> tuple[int, int]:
    first, second = value
    return int(first), int(second)
