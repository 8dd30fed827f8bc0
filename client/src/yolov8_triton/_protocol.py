# SPDX-License-Identifier: Apache-2.0
"""Build requests and read responses. No I/O, so a client of either kind adds that alone."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from yolov8_contract import signature
from yolov8_contract.errors import ContractError
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_contract.tensors import DYNAMIC, TensorSpec
from yolov8_triton._class_probabilities import ClassProbabilities
from yolov8_triton._detections import Detections
from yolov8_triton._oriented_boxes import OrientedBoxes
from yolov8_triton._poses import Poses
from yolov8_triton._segmentations import Segmentations
from yolov8_triton._shared_memory import Part

Result = Detections | Segmentations | Poses | OrientedBoxes | ClassProbabilities
Array = npt.NDArray[Any]


def check(config: Mapping[str, Any]) -> None:
    """Hold a model's configuration, as Triton answers it in JSON form, against the contract.

    Raises:
        ContractError: A parameter or a tensor is missing, unknown or different.
    """
    signature.ensemble(ServedModel.from_config(config)).check_config(config)
    if int(config.get("max_batch_size", 0)) < 1:
        raise ContractError("max_batch_size: expected 1, got 0; a request has a batch axis")


def ready_models(index: Mapping[str, Any]) -> list[str]:
    """Return the names in a repository index, as Triton answers it in JSON form, of the models that are ready."""
    return sorted({model["name"] for model in index.get("models", ()) if model.get("state") == "READY"})


def served_models(configs: Iterable[Mapping[str, Any]]) -> dict[str, ServedModel]:
    """Pick from configurations the ensembles of this contract; members and strangers are no use to a client."""
    served = {}
    for config in configs:
        if config.get("platform") == "ensemble":
            with suppress(ContractError):
                served[str(config["name"])] = ServedModel.from_config(config)
    return served


def request(image: bytes | Part) -> list[triton.InferInput]:
    """Wrap one encoded image as the model's input."""
    if isinstance(image, Part):
        tensor = triton.InferInput(signature.IMAGE.name, [1, image.size], signature.IMAGE.dtype.value)
        tensor.set_shared_memory(image.region, image.size)
        return [tensor]
    content = np.frombuffer(image, np.uint8)[np.newaxis]
    tensor = triton.InferInput(signature.IMAGE.name, content.shape, signature.IMAGE.dtype.value)
    tensor.set_data_from_numpy(content)
    return [tensor]


class Answer(Protocol):
    """The tensors of a response: tritonclient's over gRPC, our own over HTTP."""

    def as_numpy(self, name: str) -> Array | None:
        """Return one tensor, None if it isn't there."""


def response(answer: Answer, model: ServedModel) -> Result:
    """Unwrap the model's outputs.

    Raises:
        ContractError: A tensor is missing, of another type or shape, or contradicts another one.
    """
    arrays = {spec.name: _unwrapped(answer, spec) for spec in signature.ensemble(model).outputs}
    height, width = arrays[signature.ORIG_SHAPE.name].tolist()
    if model.task is Task.CLASSIFY:
        scores = arrays[signature.CLASS_SCORES]
        return ClassProbabilities(scores=scores, labels=model.labels, orig_shape=(height, width))
    _check_rows(arrays, model)
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


def _unwrapped(answer: Answer, spec: TensorSpec) -> Array:
    """Return one output without its batch axis of one."""
    try:
        array = answer.as_numpy(spec.name)
    except (ValueError, struct.error, InferenceServerException) as exc:
        raise _unexpected(spec, f"bytes that don't fill the shape they came with: {exc}") from exc
    if array is None:
        raise _unexpected(spec, "none")
    if array.shape[:1] != (1,) or not spec.accepts(array[0]):
        raise _unexpected(spec, f"{np_to_triton_dtype(array.dtype)} {list(array.shape)}")
    return array[0]  # type: ignore[no-any-return]  # tritonclient has no types


def _unexpected(spec: TensorSpec, got: str) -> ContractError:
    return ContractError(f"output {spec.name!r}: expected {spec.dtype.value} {[1, *spec.shape]} (-1: any), got {got}")


def _check_rows(arrays: Mapping[str, Array], model: ServedModel) -> None:
    """Raise unless every tensor has as many rows as objects were found, and every object has a label."""
    n = int(arrays[signature.NUM_DETECTIONS.name][0])
    for spec in signature.detections(model):
        if spec.shape[0] == DYNAMIC and len(arrays[spec.name]) != n:
            raise ContractError(
                f"output {spec.name!r}: expected {n} rows (num_detections), got {len(arrays[spec.name])}"
            )
    class_ids = arrays[signature.CLASSES.name]
    if n and not 0 <= class_ids.min() <= class_ids.max() < len(model.labels):
        raise ContractError(
            f"output {signature.CLASSES.name!r}: expected ids from 0 to {len(model.labels) - 1}, "
            f"got {class_ids.min()} to {class_ids.max()}"
        )
