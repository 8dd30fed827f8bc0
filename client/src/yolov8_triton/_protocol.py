# SPDX-License-Identifier: Apache-2.0
"""Read the answers of a server, without I/O."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from tritonclient.utils import InferenceServerException, deserialize_bytes_tensor

from yolov8_contract import signature
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


def check(config: Mapping[str, Any]) -> None:
    """Compare a model's configuration, in Triton's JSON form, with the contract.

    Raises:
        ContractError: A parameter or a tensor is missing, unknown or different.
    """
    signature.ensemble(ServedModel.from_config(config)).check_config(config)
    if int(config.get("max_batch_size", 0)) < 1:
        raise ContractError("max_batch_size: expected 1, got 0; a request has a batch axis")


def ready_models(index: Mapping[str, Any]) -> list[str]:
    """Return the names of the ready models in a repository index, in Triton's JSON form."""
    return sorted({model["name"] for model in index.get("models", ()) if model.get("state") == "READY"})


def served_models(configs: Iterable[Mapping[str, Any]]) -> dict[str, ServedModel]:
    """Return the ensembles of this contract among configurations; composing models and other models are left out."""
    served = {}
    for config in configs:
        if config.get("platform") == "ensemble":
            with suppress(ContractError):
                served[str(config["name"])] = ServedModel.from_config(config)
    return served


def response(answer: Tensors, model: ServedModel) -> Result:
    """Return the result in the outputs of a model.

    Raises:
        ContractError: A tensor is missing, of another type or shape, or contradicts another one.
    """
    outputs = _outputs(model)
    arrays = {output.spec.name: _unwrapped(answer, output) for output in outputs}
    height, width = arrays[signature.ORIG_SHAPE.name].tolist()
    if model.task is Task.CLASSIFY:
        scores = arrays[signature.CLASS_SCORES]
        return ClassProbabilities(scores=scores, labels=model.labels, orig_shape=(height, width))
    _check_rows(arrays, outputs, len(model.labels))
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
        return len(shape) == len(self.ends_with) + 2 and shape[0] == 1 and shape[2:] == self.ends_with


@lru_cache
def _outputs(model: ServedModel) -> tuple[_Output, ...]:
    return tuple(map(_output, signature.ensemble(model).outputs))


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
