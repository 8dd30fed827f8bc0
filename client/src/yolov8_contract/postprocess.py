# SPDX-License-Identifier: Apache-2.0
"""Turn a network's outputs for one image into detections in the image's own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from . import rle, signature
from .candidates import Candidates, find_candidates, read_best_candidates, read_candidates, read_objects
from .errors import ConfigError
from .keypoints import keypoints_to_image
from .letterbox import Letterbox
from .masks import mask_runs
from .nms import suppress
from .parameters import RequestParameters
from .rotated import suppress_rotated
from .served_model import ServedModel
from .task import Task

_Floats = npt.NDArray[np.float32]
_Tensors = dict[str, npt.NDArray[Any]]


def postprocess(
    model: ServedModel, head: Sequence[_Floats], orig_shape: tuple[int, int], parameters: RequestParameters
) -> _Tensors:
    """Return the tensors of ``signature.detections(model)`` for one image, without a batch axis.

    Args:
        model: The properties of the network.
        head: The network's outputs for the image, ``output0`` first.
        orig_shape: Height and width of the image as displayed, in pixels.
        parameters: The parameters of the request.

    Raises:
        ConfigError: The model is a classifier, whose probabilities need no postprocessing.
        InvalidParameterError: The network's output has too few candidates for the request's ``conf``.
    """
    if model.task is Task.CLASSIFY:
        raise ConfigError("a classify model has no postprocess model: serve the network's probabilities")
    letterbox = Letterbox.fit(orig_shape, model.imgsz)
    if not model.has_nms:
        found = read_objects(head[0], parameters)
        corners = found.boxes
    else:
        candidates = _candidates(model, head[0], parameters)
        corners = candidates.corners
        kept = _kept(model, candidates, corners, parameters)
        found, corners = candidates[kept], corners[kept]
    if model.task is Task.OBB:
        rotated = np.concatenate([found.boxes, found.extras], axis=1)
        return _tensors(found, letterbox.rotated_to_image(rotated))
    boxes = letterbox.boxes_to_image(corners)
    if model.task is Task.SEGMENT:
        return _segmented(found, boxes, head[1], letterbox)
    tensors = _tensors(found, boxes)
    if model.kpt_shape is not None:
        tensors[signature.KEYPOINTS] = keypoints_to_image(found.extras, model.kpt_shape, letterbox)
    return tensors


def _candidates(model: ServedModel, head: _Floats, parameters: RequestParameters) -> Candidates:
    if model.network_output == "raw":
        return find_candidates(head, len(model.labels), parameters)
    if model.network_output == "best-class":
        return read_candidates(head, parameters)
    return read_best_candidates(head, parameters)


def _kept(
    model: ServedModel, candidates: Candidates, corners: _Floats, parameters: RequestParameters
) -> npt.NDArray[np.intp]:
    """Return the indices of the candidates that no better one suppresses, at most ``max_det``."""
    iou, max_det, agnostic = parameters.iou, parameters.max_det, parameters.agnostic
    if model.task is Task.OBB:
        boxes = np.concatenate([candidates.boxes, candidates.extras], axis=1)
        return suppress_rotated(boxes, candidates.classes, iou=iou, max_det=max_det, agnostic=agnostic)
    return suppress(corners, candidates.classes, iou=iou, max_det=max_det, agnostic=agnostic)


def _tensors(found: Candidates, boxes: _Floats) -> _Tensors:
    return {
        signature.NUM_DETECTIONS.name: np.array([len(found)], np.int32),
        signature.BOXES.name: boxes,
        signature.SCORES.name: found.scores,
        signature.CLASSES.name: found.classes,
    }


def _segmented(found: Candidates, boxes: _Floats, prototypes: _Floats, letterbox: Letterbox) -> _Tensors:
    """Return the tensors with masks; objects whose mask is empty are left out of all tensors."""
    runs = mask_runs(prototypes, found.extras, boxes, letterbox.orig_shape)
    visible = np.array([run is not None for run in runs], bool)
    tensors = _tensors(found[visible], boxes[visible])
    masks = np.empty(int(visible.sum()), np.object_)
    masks[:] = rle.encode([run for run in runs if run is not None])
    return {**tensors, signature.MASKS.name: masks}
