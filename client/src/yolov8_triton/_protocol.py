# SPDX-License-Identifier: Apache-2.0
"""Read the answers of a server, without I/O."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tritonclient.utils import InferenceServerException, deserialize_bytes_tensor

from yolov8_contract import rle, signature
from yolov8_contract.errors import ContractError
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_contract.tensors import DYNAMIC, TensorSpec
from yolov8_triton._results.class_probabilities import ClassProbabilities
from yolov8_triton._results.detections import Detections, OrientedBoxes, Poses, Segmentations
from yolov8_triton._results.outcome import Result

Array = npt.NDArray[Any]
Tensors = Mapping[str, tuple[str, tuple[int, ...], bytes]]
"""Outputs by name: Triton's data type, the shape and the bytes."""

_MOST_PIXELS = 1 << 32
"""More than any decoder's largest image."""
_SLACK = 1e-3
"""A score of a quantised network may exceed 1 by rounding."""
_SLACK_PIXELS = 1.0
_FAR = 1e9
"""More pixels than any image has around it; oriented boxes and keypoints may reach beyond their image."""
_VISIBILITY = 2
_QUOTED = 200


def check(config: Mapping[str, Any]) -> None:
    """Compare a model's configuration, in Triton's JSON form, with the contract.

    Raises:
        ContractError: A parameter or a tensor is missing, unknown or different.
    """
    with _reading("configuration"):
        signature.ensemble(ServedModel.from_config(config)).check_config(config)
        if int(config.get("max_batch_size", 0)) < 1:
            raise ContractError("max_batch_size: expected 1, got 0; a request has a batch axis")


def served_model(config: Mapping[str, Any]) -> ServedModel:
    """Return what a model's configuration, in Triton's JSON form, says of it.

    Raises:
        ContractError: A parameter is missing or malformed.
    """
    with _reading("configuration"):
        return ServedModel.from_config(config)


def ready_models(index: Mapping[str, Any]) -> list[str]:
    """Return the names of the ready models in a repository index, in Triton's JSON form.

    Raises:
        ContractError: It is no index.
    """
    with _reading("index of a model repository"):
        names = {model["name"] for model in index.get("models", ()) if model.get("state") == "READY"}
        if not all(isinstance(name, str) for name in names):
            raise TypeError("a name that is no text")
        return sorted(names)


def served_models(configs: Iterable[Mapping[str, Any]]) -> dict[str, ServedModel]:
    """Return the ensembles of this contract among configurations; composing models and other models are left out."""
    served = {}
    for config in configs:
        with suppress(ContractError):
            if config.get("platform") == "ensemble":
                served[str(config.get("name"))] = served_model(config)
    return served


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Turn the errors of reading a document of another form into the contract's; who wrote it is not known."""
    try:
        yield
    except ContractError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as exc:
        raise ContractError(f"this is no {what} of Triton: {repr(exc)[:_QUOTED]}") from exc


def response(answer: Tensors, model: ServedModel) -> Result:
    """Return the result in the outputs of a model.

    Raises:
        ContractError: A tensor is missing, of another type or shape, contradicts another one, or has impossible values.
    """
    outputs = _outputs(model)
    arrays = {output.spec.name: _unwrapped(answer, output) for output in outputs}
    height, width = arrays[signature.ORIG_SHAPE.name].tolist()
    if min(height, width) < 1 or height * width > _MOST_PIXELS:
        raise ContractError(f"output 'orig_shape': expected height and width of an image, got {height} x {width}")
    if model.task is Task.CLASSIFY:
        scores = arrays[signature.CLASS_SCORES]
        _check_range(signature.CLASS_SCORES, scores, 0, 1)
        return ClassProbabilities(scores=scores, labels=model.labels, orig_shape=(height, width))
    _check_rows(arrays, outputs, len(model.labels))
    if len(arrays[signature.SCORES.name]):
        _check_objects(arrays, model.task, height, width)
    common: dict[str, Any] = {
        "confidence": arrays[signature.SCORES.name],
        "class_id": arrays[signature.CLASSES.name],
        "labels": model.labels,
        "orig_shape": (height, width),
    }
    boxes = arrays[signature.BOXES.name]
    if model.task is Task.OBB:
        return OrientedBoxes(xywhr=boxes, **common)
    if model.task is Task.SEGMENT:
        return Segmentations(xyxy=boxes, rle=arrays[signature.MASKS.name], **common)
    if model.task is Task.POSE:
        return Poses(xyxy=boxes, keypoints=arrays[signature.KEYPOINTS], **common)
    return Detections(xyxy=boxes, **common)


def times(answer: Tensors) -> list[float]:
    """Return the times in the outputs of a model, of a request that asked for them.

    Raises:
        ContractError: They are missing, of another type or shape, or impossible.
    """
    values: list[float] = _unwrapped(answer, _output(signature.TIMINGS)).tolist()
    if not (values[0] > 0 and all(math.isfinite(value) for value in values)):
        raise ContractError(f"output {signature.TIMINGS.name!r}: expected a start and milliseconds, got {values}")
    return values


class _Output(NamedTuple):
    """The expectation of one output, prepared once: doing so for each response would be most of the work."""

    spec: TensorSpec
    datatype: str
    dtype: npt.DTypeLike
    has_rows: bool
    ends_with: tuple[int, ...]

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Tell whether a shape is the expected one behind a batch axis of one, with any number of rows."""
        if not self.has_rows:
            return shape == self.ends_with
        fits = len(shape) == len(self.ends_with) + 2 and shape[0] == 1 and shape[2:] == self.ends_with
        return fits and shape[1] >= 0  # numpy would take a negative length for an unknown one


@lru_cache
def _outputs(model: ServedModel) -> tuple[_Output, ...]:
    return tuple(_output(spec) for spec in signature.ensemble(model).outputs if spec != signature.TIMINGS)


def _output(spec: TensorSpec) -> _Output:
    has_rows = spec.shape[0] == DYNAMIC
    ends_with = spec.shape[1:] if has_rows else (1, *spec.shape)
    assert DYNAMIC not in ends_with  # in the contract's outputs only the first axis, that of the objects, varies
    return _Output(spec, spec.dtype.value, spec.dtype.numpy, has_rows, ends_with)


def _unwrapped(answer: Tensors, output: _Output) -> Array:
    """Return one output without its batch axis of one."""
    spec, dtype = output.spec, output.dtype
    if spec.name not in answer:
        raise _unexpected(spec, "none")
    datatype, shape, content = answer[spec.name]
    if datatype != output.datatype or not output.fits(shape):
        raise _unexpected(spec, f"{datatype} {list(shape)}")
    try:
        flat = deserialize_bytes_tensor(content) if dtype is np.object_ else np.frombuffer(content, dtype)
        array: Array = flat.reshape(shape[1:])
    except (ValueError, struct.error, InferenceServerException) as exc:
        raise _unexpected(spec, f"bytes that don't fill the shape they came with: {exc}") from exc
    return array


def _unexpected(spec: TensorSpec, got: str) -> ContractError:
    return ContractError(f"output {spec.name!r}: expected {spec.dtype.value} {[1, *spec.shape]} (-1: any), got {got}")


def _check_rows(arrays: Mapping[str, Array], outputs: tuple[_Output, ...], classes: int) -> None:
    """Raise unless every tensor has as many rows as objects were found, and every object has a label."""
    n = int(arrays[signature.NUM_DETECTIONS.name][0])
    for output in outputs:
        if output.has_rows and len(arrays[output.spec.name]) != n:
            name = output.spec.name
            raise ContractError(f"output {name!r}: expected {n} rows (num_detections), got {len(arrays[name])}")
    class_ids = arrays[signature.CLASSES.name]
    if n and class_ids.view(np.uint32).max() >= classes:  # negative ids are large numbers there
        raise ContractError(
            f"output {signature.CLASSES.name!r}: expected ids from 0 to {classes - 1}, "
            f"got {class_ids.min()} to {class_ids.max()}"
        )


def _check_objects(arrays: Mapping[str, Array], task: Task, height: int, width: int) -> None:
    """Raise if scores, boxes, masks or keypoints have values that no image leads to."""
    _check_range(signature.SCORES.name, arrays[signature.SCORES.name], 0, 1)
    boxes = arrays[signature.BOXES.name]
    if task is Task.OBB:
        _check_range(signature.BOXES.name, boxes, -_FAR, _FAR)
        _check_sizes(boxes[:, 2:4])
    else:
        _check_range(signature.BOXES.name, boxes[:, ::2], 0, width, _SLACK_PIXELS)
        _check_range(signature.BOXES.name, boxes[:, 1::2], 0, height, _SLACK_PIXELS)
        _check_sizes(boxes[:, 2:] - boxes[:, :2])
    if task is Task.SEGMENT:
        try:
            rle.check(arrays[signature.MASKS.name].tolist(), (height, width))
        except ContractError as exc:
            raise ContractError(f"output {signature.MASKS.name!r}: {exc}") from exc
    if task is Task.POSE:
        _check_range(signature.KEYPOINTS, arrays[signature.KEYPOINTS], -_FAR, _FAR)
        _check_range(signature.KEYPOINTS, arrays[signature.KEYPOINTS][..., _VISIBILITY:], 0, 1)


def _check_range(name: str, values: Array, low: float, high: float, slack: float = _SLACK) -> None:
    if not values.size:
        return
    with np.errstate(invalid="ignore"):  # a signalling NaN would warn, which some programs turn into an error
        smallest, largest = float(values.min()), float(values.max())
    if not (smallest >= low - slack and largest <= high + slack):  # NaN is in no range
        raise ContractError(
            f"output {name!r}: expected numbers from {low:g} to {high:g}, got {smallest:g} to {largest:g}"
        )


def _check_sizes(sizes: Array) -> None:
    if sizes.min() < -_SLACK_PIXELS:
        raise ContractError(
            f"output {signature.BOXES.name!r}: expected boxes of at least 0 pixels, got a side of {sizes.min():g}"
        )
