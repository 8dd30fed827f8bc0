# SPDX-License-Identifier: Apache-2.0
"""Parse and check request parameters, which have Ultralytics' names and defaults."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from .errors import ConfigError, InvalidParameterError
from .served_model import ServedModel, read_parameter
from .task import Task

DEFAULT_MAX_DET_LIMIT = 1000

_SYNONYMS = {
    "confidence": "conf",
    "conf_thres": "conf",
    "conf_threshold": "conf",
    "score_threshold": "conf",
    "threshold": "conf",
    "iou_thres": "iou",
    "iou_threshold": "iou",
    "nms": "iou",
    "nms_threshold": "iou",
    "max_detections": "max_det",
    "class_ids": "classes",
    "agnostic_nms": "agnostic",
}
"""Other projects' names of the parameters. If they were ignored, the caller would silently get the defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestParameters:
    """The parameters of one request.

    Attributes:
        conf: Threshold of the score, in [0, 1]; objects with a higher score are returned.
        iou: Threshold of the overlap, in [0, 1]; if two objects overlap more, the worse one is dropped.
        max_det: The largest number of objects; the best ones are returned.
        classes: The class ids to return; None for all.
        agnostic: Whether objects of different classes suppress each other.
    """

    conf: float = 0.25
    iou: float = 0.7
    max_det: int = 300
    classes: tuple[int, ...] | None = None
    agnostic: bool = False


NAMES = tuple(field.name for field in fields(RequestParameters))


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterPolicy:
    """The rules of a deployment for request parameters.

    Attributes:
        task: The model's task; classify models accept no parameters.
        num_classes: The number of classes; class ids are smaller.
        defaults: The values of parameters that a request leaves out.
        max_det_limit: The largest ``max_det`` that a request may have.
    """

    task: Task
    num_classes: int
    defaults: RequestParameters = RequestParameters()
    max_det_limit: int = DEFAULT_MAX_DET_LIMIT

    def __post_init__(self) -> None:
        if self.max_det_limit < 1:
            raise ConfigError(f"max_det_limit: expected at least 1, got {self.max_det_limit!r}")
        try:
            for name, value in asdict(self.defaults).items():
                if value is not None:
                    self._read(name, ",".join(map(str, value)) if name == "classes" else value)
        except InvalidParameterError as exc:
            raise ConfigError(f"defaults: {exc}") from exc

    def parse(self, raw: Mapping[str, Any]) -> RequestParameters:
        """Return the checked parameters of a request.

        Unknown names are ignored, because forwarded headers arrive as parameters, too. Names that resemble a
        parameter are refused.

        Args:
            raw: The request's parameters from Triton: bool, int, float or str by name.

        Raises:
            InvalidParameterError: A value has the wrong type or is out of range, a name resembles a parameter, or the
                task accepts no parameters.
        """
        read: dict[str, Any] = {}
        for name, value in raw.items():
            meant = _meant(name)
            if meant is None:
                continue
            if meant != name:
                raise InvalidParameterError(f"{name!r} is not known, did you mean {meant!r}?")
            if self.task is Task.CLASSIFY:
                raise InvalidParameterError(f"{name!r} has no effect on a model of task 'classify', leave it out")
            read[name] = self._read(name, value)
        return replace(self.defaults, **read)

    def to_parameters(self) -> dict[str, str]:
        """Return the policy as ``parameters`` of ``config.pbtxt``: JSON texts by name."""
        return {"defaults": json.dumps(asdict(self.defaults)), "max_det_limit": json.dumps(self.max_det_limit)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], model: ServedModel) -> ParameterPolicy:
        """Read the policy from a model configuration in JSON form.

        Raises:
            ConfigError: A parameter of the policy is missing or malformed.
        """
        defaults = read_parameter(config, "defaults")
        try:
            if defaults.get("classes") is not None:
                defaults["classes"] = tuple(defaults["classes"])
            return cls(
                task=model.task,
                num_classes=len(model.labels),
                defaults=RequestParameters(**defaults),
                max_det_limit=read_parameter(config, "max_det_limit"),
            )
        except (AttributeError, TypeError) as exc:
            raise ConfigError(f"model {config.get('name', '?')!r}: defaults are malformed: {defaults!r}") from exc

    def _read(self, name: str, value: Any) -> Any:
        if name == "classes":
            return self._classes(value)
        if name == "max_det":
            return self._max_det(value)
        if name == "agnostic":
            if not isinstance(value, bool):
                raise InvalidParameterError(f"'agnostic' must be true or false, got {value!r}")
            return value
        return _fraction(name, value)

    def _max_det(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= self.max_det_limit:
            raise InvalidParameterError(
                f"'max_det' must be a whole number from 1 to {self.max_det_limit}, got {value!r}"
            )
        return value

    def _classes(self, value: Any) -> tuple[int, ...]:
        texts = str(value).split(",") if isinstance(value, int | str) and not isinstance(value, bool) else [""]
        if not all(text.strip().isdecimal() and int(text) < self.num_classes for text in texts):
            raise InvalidParameterError(
                f"'classes' must be class ids from 0 to {self.num_classes - 1}, separated by commas, got {value!r}"
            )
        return tuple(sorted({int(text) for text in texts}))


def _fraction(name: str, value: Any) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value <= 1:
        raise InvalidParameterError(f"{name!r} must be a number from 0 to 1, got {value!r}")
    return float(value)


def _meant(name: str) -> str | None:
    plain = name.lower().replace("-", "_")
    if plain in NAMES:
        return plain
    if plain in _SYNONYMS:
        return _SYNONYMS[plain]
    close = difflib.get_close_matches(plain, NAMES, n=1, cutoff=0.75)
    return close[0] if close else None
