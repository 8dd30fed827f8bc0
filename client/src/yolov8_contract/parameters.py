# SPDX-License-Identifier: Apache-2.0
"""Request parameters: Ultralytics' names and defaults, checked once, at the door."""

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
"""Other projects' words for ours. Near misses must not pass as unknown: the caller would get the defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestParameters:
    """What one request asks for.

    Attributes:
        conf: Objects need a score strictly above it, in [0, 1].
        iou: Of two objects that overlap more than it the worse is dropped, in [0, 1].
        max_det: At most so many objects, the best ones.
        classes: Only objects of these class ids; None for all.
        agnostic: Let objects of different classes suppress each other.
    """

    conf: float = 0.25
    iou: float = 0.7
    max_det: int = 300
    classes: tuple[int, ...] | None = None
    agnostic: bool = False


NAMES = tuple(field.name for field in fields(RequestParameters))


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterPolicy:
    """What a deployment makes of request parameters.

    Attributes:
        task: A classifier takes none.
        num_classes: Class ids lie below it.
        defaults: What holds where a request says nothing.
        max_det_limit: Requests may not ask for more objects.
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
        """Return what a request asks for.

        Args:
            raw: The request's parameters as Triton gives them: bool, int, float or str by name. Names that
                resemble none of ours are passed over: forwarded headers arrive as parameters, too.

        Raises:
            InvalidParameterError: A value is mistyped or out of range, a name nearly is one of ours, or the
                task has no use for it.
        """
        read: dict[str, Any] = {}
        for name, value in raw.items():
            meant = _meant(name)
            if meant is None:
                continue
            if meant != name:
                raise InvalidParameterError(f"{name!r} is not known, did you mean {meant!r}?")
            if self.task is Task.CLASSIFY:
                raise InvalidParameterError(f"{name!r} means nothing to a model of task 'classify', leave it out")
            read[name] = self._read(name, value)
        return replace(self.defaults, **read)

    def to_parameters(self) -> dict[str, str]:
        """Return the ``parameters`` of ``config.pbtxt`` that say the same: JSON texts by name."""
        return {"defaults": json.dumps(asdict(self.defaults)), "max_det_limit": json.dumps(self.max_det_limit)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], model: ServedModel) -> ParameterPolicy:
        """Read the policy from a model configuration in JSON form.

        Raises:
            ConfigError: It is missing or malformed.
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
                f"'classes' must be class ids from 0 to {self.num_classes - 1} with commas between, got {value!r}"
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
