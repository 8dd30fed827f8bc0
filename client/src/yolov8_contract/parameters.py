# SPDX-License-Identifier: Apache-2.0
"""Parse and check request parameters, which have Ultralytics' names and defaults."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

from . import slices
from .errors import ConfigError, InvalidParameterError
from .parameter_values import JsonObject, class_ids, fraction, is_integer, read_text, shown, slice_value
from .served_model import SLICED_TASKS, ServedModel, read_parameter
from .slices import Slicing
from .task import Task

DEFAULT_MAX_DET_LIMIT = 1000

MAX_PARAMETERS = 128
"""The limit of a request's parameters, forwarded headers included."""
MAX_PARAMETERS_CHARACTERS = 64 * 1024
"""The limit of their JSON text: servers forward at most 16 KiB of headers, and ids of 10,000 classes take 48 KiB."""
TIMINGS = "timings"
_MAX_KEPT_CHARACTERS = 1024
"""Longer texts are parsed anew for each request, so that their callers can't fill the memory."""

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
    "slice_size": "slice",
    "slice_wh": "slice",
    "tile": "slice",
    "tile_size": "slice",
    "overlap": "slice_overlap",
    "overlap_ratio": "slice_overlap",
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
        slicing: The tiles into which the image is cut; None for the whole image.
        timings: Whether the answer says where the time went.
    """

    conf: float = 0.25
    iou: float = 0.7
    max_det: int = 300
    classes: tuple[int, ...] | None = None
    agnostic: bool = False
    slicing: Slicing | None = None
    timings: bool = False

    def values(self) -> dict[str, Any]:
        """Return the parameters for which a deployment may set defaults, by name."""
        return {name: value for name, value in asdict(self).items() if name not in ("slicing", TIMINGS)}


NAMES = (*RequestParameters().values(), *slices.NAMES, TIMINGS)
_CHOSEN = "on an end-to-end network, which chooses its objects itself"
_TEXTS = ("classes", slices.SLICE_MERGE)
_LONGEST_KNOWN = max(map(len, (*NAMES, *_SYNONYMS)))
"""A longer name resembles none of the parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterPolicy:
    """The rules of a deployment for request parameters.

    Attributes:
        task: The model's task; classify models accept no parameters.
        num_classes: The number of classes; class ids are smaller.
        defaults: The values of parameters that a request leaves out.
        max_det_limit: The largest ``max_det`` that a request may have.
        max_slices: The most tiles into which a request may cut its image.
        timings: Whether a request may ask for its times.
        has_nms: Whether overlapping objects are suppressed; if not, ``iou`` and ``agnostic`` are refused.
    """

    task: Task
    num_classes: int
    defaults: RequestParameters = RequestParameters()
    max_det_limit: int = DEFAULT_MAX_DET_LIMIT
    max_slices: int = 0
    timings: bool = False
    has_nms: bool = True

    def __post_init__(self) -> None:
        if self.max_det_limit < 1:
            raise ConfigError(f"max_det_limit: expected at least 1, got {self.max_det_limit!r}")
        usual = RequestParameters()
        if not self.has_nms and (self.defaults.iou, self.defaults.agnostic) != (usual.iou, usual.agnostic):
            raise ConfigError(f"defaults: 'iou' and 'agnostic' have no effect {_CHOSEN}, leave them out")
        try:
            for name, value in self.defaults.values().items():
                if value is not None:
                    self._read(name, ",".join(map(str, value)) if name == "classes" else value)
        except InvalidParameterError as exc:
            raise ConfigError(f"defaults: {exc}") from exc

    def parse_json(self, text: str) -> RequestParameters:
        """Return the checked parameters of a request. Takes milliseconds at most, whatever a caller sends.

        Args:
            text: The request's parameters from Triton, a JSON object of bool, int, float or str by name, or nothing.

        Raises:
            InvalidParameterError: `parse` refuses the parameters, the text is too long or no JSON object, or one of
                our names comes twice.
        """
        return _parsed(self, text) if len(text) <= _MAX_KEPT_CHARACTERS else self._parse(_pairs(text))

    def parse(self, raw: Mapping[str, Any]) -> RequestParameters:
        """Return the checked parameters of a request.

        Unknown names are ignored, because forwarded headers arrive as parameters, too. Names that resemble a
        parameter are refused.

        Args:
            raw: The request's parameters: bool, int, float or str by name.

        Raises:
            InvalidParameterError: A value has the wrong type or is out of range, a name resembles a parameter, there
                are too many parameters, or the task accepts none.
        """
        return self._parse(raw.items())

    def to_parameters(self) -> dict[str, str]:
        """Return the policy as ``parameters`` of ``config.pbtxt``: JSON texts by name."""
        return {"defaults": json.dumps(self.defaults.values()), "max_det_limit": json.dumps(self.max_det_limit)}

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
                max_slices=model.max_slices,
                timings=model.timings,
                has_nms=model.has_nms,
            )
        except (AttributeError, TypeError) as exc:
            raise ConfigError(f"model {config.get('name', '?')!r}: defaults are malformed: {defaults!r}") from exc

    def _parse(self, pairs: Collection[tuple[str, Any]]) -> RequestParameters:
        if len(pairs) > MAX_PARAMETERS:
            raise InvalidParameterError(
                f"a request may have {MAX_PARAMETERS} parameters, forwarded headers included, got {len(pairs)}"
            )
        read: dict[str, Any] = {}
        for name, value in pairs:
            meant = _meant(name) if len(name) <= _LONGEST_KNOWN else None
            if meant is None:
                continue
            if meant != name:
                raise InvalidParameterError(f"{name!a} is not known, did you mean {meant!r}?")
            if name in read:
                raise InvalidParameterError(f"{name!r} is given twice, leave one out")
            if self.task is Task.CLASSIFY and name != TIMINGS:
                raise InvalidParameterError(f"{name!r} has no effect on a model of task 'classify', leave it out")
            read[name] = self._read_text(name, value)
        slicing = self._slicing(read)
        self._check_nms(read, slicing)
        if read.get(TIMINGS) and not self.timings:
            raise InvalidParameterError(
                "'timings' is not possible: this deployment does not measure times: export the model with --timings, "
                "or leave it out"
            )
        return replace(self.defaults, slicing=slicing, **read)

    def check_tiles(self, parameters: RequestParameters, orig_shape: tuple[int, int]) -> None:
        """Refuse a request that would cut its image into more tiles than the deployment runs.

        Args:
            parameters: The parameters of the request.
            orig_shape: Height and width of the image in pixels.

        Raises:
            InvalidParameterError: It would; the message says how many there would be.
        """
        if (slicing := parameters.slicing) is None or (count := slicing.count(orig_shape)) <= self.max_slices:
            return
        height, width = orig_shape
        raise InvalidParameterError(
            f"'slice' of {slicing.size} pixels cuts this image of {width} x {height} into {count} tiles, at most "
            f"{self.max_slices} are allowed: ask for larger tiles, a smaller 'slice_overlap', or reduce the image"
        )

    def _check_nms(self, read: Mapping[str, Any], slicing: Slicing | None) -> None:
        """Refuse the parameters of a suppression that the model does not have; ``agnostic`` applies to tiles, too."""
        names = ("iou",) if slicing is not None else ("iou", "agnostic")
        if not self.has_nms and (name := next((name for name in names if name in read), None)) is not None:
            raise InvalidParameterError(
                f"{name!r} has no effect {_CHOSEN}: leave it out, or export the model with --head one2many"
            )

    def _slicing(self, read: dict[str, Any]) -> Slicing | None:
        """Take the parameters of the tiles out of those that were read, and return what they say."""
        given = {name: read.pop(name) for name in slices.NAMES if name in read}
        if not given:
            return None
        if slices.SLICE not in given:
            raise InvalidParameterError(f"{next(iter(given))!r} has an effect only with 'slice', add it")
        if not given[slices.SLICE]:
            return None
        if not self.max_slices:
            reason = (
                "this deployment does not cut images: export the model with --max-slices"
                if self.task in SLICED_TASKS
                else f"a model of task {self.task.value!r} can't merge the objects of tiles"
            )
            raise InvalidParameterError(f"'slice' is not possible: {reason}, or leave it out")
        fields = {"size": slices.SLICE, "overlap": slices.SLICE_OVERLAP, "merge": slices.SLICE_MERGE}
        return Slicing(**{field: given[name] for field, name in fields.items() if name in given})

    def _read_text(self, name: str, value: Any) -> Any:
        """Read a request's value, where a text may stand for a number or a boolean; an error shows what was sent."""
        if not isinstance(value, str) or name in _TEXTS:
            return self._read(name, value)
        try:
            return self._read(name, read_text(value))
        except InvalidParameterError:
            pass
        return self._read(name, value)

    def _read(self, name: str, value: Any) -> Any:
        if name == "classes":
            return self._classes(value)
        if name == "max_det":
            return self._max_det(value)
        if name in slices.NAMES:
            return slice_value(name, value)
        if name in ("agnostic", TIMINGS):
            if not isinstance(value, bool):
                raise InvalidParameterError(f"{name!r} must be true or false, got {shown(value)}")
            return value
        return fraction(name, value)

    def _max_det(self, value: Any) -> int:
        if not is_integer(value) or not 1 <= value <= self.max_det_limit:
            raise InvalidParameterError(
                f"'max_det' must be a whole number from 1 to {self.max_det_limit}, got {shown(value)}"
            )
        return int(value)

    def _classes(self, value: Any) -> tuple[int, ...]:
        ids = {value} if is_integer(value) else class_ids(value) if isinstance(value, str) else set()
        if not ids or not 0 <= min(ids) <= max(ids) < self.num_classes:
            raise InvalidParameterError(
                f"'classes' must be class ids from 0 to {self.num_classes - 1}, separated by commas, got {shown(value)}"
            )
        return tuple(sorted(ids))


@lru_cache(maxsize=256)  # callers send the same few texts again and again; an error is not kept
def _parsed(policy: ParameterPolicy, text: str) -> RequestParameters:
    return policy._parse(_pairs(text))


def parameters_text(request: Any) -> str:
    """Return the parameters of a request of Triton's python backend as JSON text.

    Raises:
        InvalidParameterError: They are not UTF-8, as the bytes of a forwarded header.
    """
    try:
        return str(request.parameters())
    except UnicodeDecodeError:
        raise InvalidParameterError("the parameters are not UTF-8 text; a forwarded header may be the reason") from None


def _pairs(text: str) -> JsonObject:
    """Return names and values, repeated names included."""
    if len(text) > MAX_PARAMETERS_CHARACTERS:
        raise InvalidParameterError(
            f"all parameters together may have {MAX_PARAMETERS_CHARACTERS} characters of JSON, got {len(text)}"
        )
    try:
        pairs = json.loads(text, object_pairs_hook=JsonObject) if text else JsonObject()
    except (ValueError, RecursionError) as exc:  # no JSON, an integer of thousands of digits, or nested too deep
        raise InvalidParameterError("the parameters are no JSON object of names and plain values") from exc
    if not isinstance(pairs, JsonObject):
        raise InvalidParameterError(f"the parameters must be a JSON object, got {shown(pairs)}")
    return pairs


@lru_cache(maxsize=1024)  # forwarded headers have the same names in each request
def _meant(name: str) -> str | None:
    plain = name.lower().replace("-", "_")
    if plain in NAMES:
        return plain
    if plain in _SYNONYMS:
        return _SYNONYMS[plain]
    close = difflib.get_close_matches(plain, NAMES, n=1, cutoff=0.75)
    return close[0] if close else None
