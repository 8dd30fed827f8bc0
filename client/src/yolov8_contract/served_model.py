# SPDX-License-Identifier: Apache-2.0
"""Describe a deployed model, and store the description in ``config.pbtxt``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ConfigError
from .task import Task

CONTRACT_VERSION = 1
"""The version is increased when a client or model code of an older version could misread the newer one."""

_SHOWN = 200
"""Letters of a foreign value in a message."""
CPU_IMAGE_FORMATS = ("jpeg", "png", "webp", "bmp")
GPU_IMAGE_FORMATS = ("jpeg",)
NETWORK_INPUTS = ("fp32", "fp32-nhwc", "uint8")
NETWORK_OUTPUTS = ("raw", "best-class", "candidates", "end2end")
END2END = "end2end"
"""The output of a network that chooses its objects itself, and needs no suppression of overlapping boxes."""
SLICED_TASKS = (Task.DETECT, Task.SEGMENT, Task.OBB)
"""The tasks whose objects of several tiles can be made one."""
_DESCRIPTION = ("family", "engine", "precision")
MIN_CLASSES_TO_REDUCE = 3
"""The fewest classes for ``best-class``, which has two rows. With 1 or 2 classes it saves nothing, and with 2 the shape
of a head would not show which of the two it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """The properties of a network that preprocessing, postprocessing and clients need.

    Attributes:
        task: The task that the network was trained for.
        labels: The class names; a class id is an index into them.
        imgsz: Height and width of the network's input in pixels.
        kpt_shape: Keypoints per object and values per keypoint (2: x, y; 3: x, y, visibility), for task pose alone.
        image_formats: The image formats that the deployment accepts.
        network_input: The tensor between preprocess and network: ``fp32`` planes from 0 to 1; ``fp32-nhwc``, RGB pixels
            from 0 to 1, channels last as TensorFlow takes them; or ``uint8`` RGB pixels, a quarter of the bytes, which
            the network scales itself.
        network_output: The anchors between network and postprocess: ``raw``, all of them with the scores of all
            classes; ``best-class``, all of them with the score and the index of their best class; ``candidates``,
            those with the highest scores of their best class, in the same rows; or ``end2end``, the objects that the
            network has chosen itself, a row for each.
        priority_levels: The levels that a request's ``priority`` may choose from, 1 being the first served; 0 if the
            deployment has none.
        max_slices: The most tiles into which a request may cut its image; 0 if images are not cut.
        timings: Whether a request may ask where its time went.
        family: The family of the network, such as ``YOLOv8``; None if the weights don't say it.
        engine: The inference engine that runs it, by the name of Triton's backend; None in older repositories.
        precision: The precision that it computes in: ``fp32``, ``fp16`` or ``int8``; None in older repositories.
    """

    task: Task
    labels: tuple[str, ...]
    imgsz: tuple[int, int]
    kpt_shape: tuple[int, int] | None = None
    image_formats: tuple[str, ...] = CPU_IMAGE_FORMATS
    network_input: str = "fp32"
    network_output: str = "raw"
    priority_levels: int = 0
    max_slices: int = 0
    timings: bool = False
    family: str | None = None
    engine: str | None = None
    precision: str | None = None

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
        if self.max_slices < 0 or (self.max_slices and self.task not in SLICED_TASKS):
            names = ", ".join(task.value for task in SLICED_TASKS)
            raise ConfigError(f"max_slices: tiles are for {names}, got {self.max_slices} for {self.task.value!r}")
        self._check_output()

    def _check_output(self) -> None:
        if self.network_output not in NETWORK_OUTPUTS:
            raise ConfigError(f"network_output: expected one of {list(NETWORK_OUTPUTS)}, got {self.network_output!r}")
        if self.network_output == "raw":
            return
        if self.task is Task.CLASSIFY:
            raise ConfigError(
                f"network_output {self.network_output}: a classify model returns the probabilities of all classes"
            )
        if self.network_output == "best-class" and len(self.labels) < MIN_CLASSES_TO_REDUCE:
            raise ConfigError(
                f"network_output best-class: saves nothing with fewer than {MIN_CLASSES_TO_REDUCE} classes, "
                f"got {len(self.labels)}"
            )

    @property
    def head(self) -> str:
        """What is output: ``probabilities``, chosen objects (``one-to-one``), or anchors (``one-to-many``)."""
        if self.task is Task.CLASSIFY:
            return "probabilities"
        return "one-to-many" if self.has_nms else "one-to-one"

    @property
    def has_nms(self) -> bool:
        """Whether postprocess suppresses overlapping boxes; an ``end2end`` network has chosen its objects itself."""
        return self.network_output != END2END

    @property
    def score_rows(self) -> int:
        """The number of a head's class rows, which follow the box rows."""
        return len(self.labels) if self.network_output == "raw" else 2

    def to_parameters(self) -> dict[str, str]:
        """Return the properties as ``parameters`` of ``config.pbtxt``: JSON texts by name."""
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
        if self.priority_levels:
            values["priority_levels"] = self.priority_levels
        if self.max_slices:
            values["max_slices"] = self.max_slices
        if self.timings:
            values["timings"] = True
        values |= {name: value for name in _DESCRIPTION if (value := getattr(self, name)) is not None}
        return {name: json.dumps(value, ensure_ascii=False) for name, value in values.items()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ServedModel:
        """Read the ``parameters`` of a model configuration in JSON form.

        Raises:
            ConfigError: A parameter is missing or malformed, or the contract has another version.
        """
        version = read_parameter(config, "contract_version")
        if version != CONTRACT_VERSION:
            raise ConfigError(
                f"{_where(config)}: contract_version is {version!r}, this code supports {CONTRACT_VERSION}; "
                "export the model again, or use the release that exported it"
            )
        task = read_parameter(config, "task")
        if task not in [known.value for known in Task]:
            raise ConfigError(f"{_where(config)}: task is {task!r}, expected one of {[known.value for known in Task]}")
        kpt_shape = read_parameter(config, "kpt_shape") if Task(task) is Task.POSE else None
        try:
            return cls(
                task=Task(task),
                labels=_texts(read_parameter(config, "labels")),
                imgsz=_pair(read_parameter(config, "imgsz")),
                kpt_shape=None if kpt_shape is None else _pair(kpt_shape),
                image_formats=_texts(read_parameter(config, "image_formats")),
                network_input=_optional_parameter(config, "network_input", "fp32"),
                network_output=_optional_parameter(config, "network_output", "raw"),
                priority_levels=_count(config, "priority_levels"),
                max_slices=_count(config, "max_slices"),
                timings=_flag(config, "timings"),
                **{name: _description(config, name) for name in _DESCRIPTION},
            )
        except (TypeError, ValueError) as exc:
            raise ConfigError(f"{_where(config)}: {exc}") from exc


def read_parameter(config: Mapping[str, Any], name: str) -> Any:
    """Return one JSON parameter of a model configuration in JSON form.

    Raises:
        ConfigError: The parameter is missing or not JSON.
    """
    try:
        text = config["parameters"][name]["string_value"]
    except (KeyError, TypeError):
        raise ConfigError(
            f"{_where(config)}: parameter {name!r} is missing; was this model exported by yolov8-triton?"
        ) from None
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError) as exc:
        raise ConfigError(f"{_where(config)}: parameter {name!r} is not JSON: {repr(text)[:_SHOWN]}") from exc


def _optional_parameter(config: Mapping[str, Any], name: str, default: str) -> str:
    """Return a parameter, or its default; ``config.pbtxt`` has only values that differ from the default."""
    return str(read_parameter(config, name)) if name in config["parameters"] else default


def _description(config: Mapping[str, Any], name: str) -> str | None:
    """Return a parameter that describes a model for people; None if it is left out."""
    value = read_parameter(config, name) if name in config["parameters"] else None
    if not isinstance(value, str | None):
        raise ValueError(f"{name}: expected a text, got {repr(value)[:_SHOWN]}")
    return value


def _count(config: Mapping[str, Any], name: str) -> int:
    """Return a parameter that is a whole number, and 0 if it is left out."""
    value = read_parameter(config, name) if name in config["parameters"] else 0
    if type(value) is not int or value < 0:
        raise ValueError(f"{name}: expected a whole number from 0, got {repr(value)[:_SHOWN]}")
    return value


def _flag(config: Mapping[str, Any], name: str) -> bool:
    """Return a parameter that is true or false, and false if it is left out."""
    value = read_parameter(config, name) if name in config["parameters"] else False
    if not isinstance(value, bool):
        raise ValueError(f"{name}: expected true or false, got {repr(value)[:_SHOWN]}")
    return value


def _where(config: Mapping[str, Any]) -> str:
    return f"model {config.get('name', '?')!r}"


def _pair(value: Any) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2 or not all(type(one) is int for one in value):
        raise ValueError(f"expected two whole numbers, got {repr(value)[:_SHOWN]}")
    first, second = value
    return first, second


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"expected a list of texts, got {repr(value)[:_SHOWN]}")
    return tuple(value)
