# SPDX-License-Identifier: Apache-2.0
"""Prepared requests, and the comparison of answers with the expected ones."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from yolov8_contract.served_model import ServedModel
from yolov8_loadtest.errors import WrongAnswerError
from yolov8_loadtest.scenario.scenario import Tolerance
from yolov8_loadtest.workload.requests import Payload
from yolov8_triton import ClassProbabilities, OrientedBoxes, Poses, Result, Segmentations, YoloTritonError
from yolov8_triton.low_level import infer_request, parse_response, read_result

DEFAULT_CONF = 0.25
"""The default threshold of a deployment."""

Boxes = npt.NDArray[np.float32]


def difference(expected: Result, actual: Result, tolerance: Tolerance, *, conf: float = DEFAULT_CONF) -> str | None:
    """Describe how an answer differs from the expected one; None if it does not.

    Objects are compared as sets, since objects of equal score have no fixed order. An object with a score near ``conf``
    may be in one of the answers alone.
    """
    if type(expected) is not type(actual):
        return f"it is {type(actual).__name__}, not {type(expected).__name__}"
    if expected.orig_shape != actual.orig_shape:
        return f"its image has {actual.orig_shape} pixels, not {expected.orig_shape}"
    if isinstance(expected, ClassProbabilities):
        assert isinstance(actual, ClassProbabilities)
        worst = float(np.abs(expected.scores - actual.scores).max())
        return f"a probability is off by {worst:.3g}" if worst > tolerance.score else None
    assert not isinstance(actual, ClassProbabilities)
    pairs = _pairs(expected, actual, tolerance)
    surplus = [
        _unpaired(pairs[:, side], result, conf + tolerance.score) for side, result in enumerate((expected, actual))
    ]
    if any(surplus):
        missing, unexpected = surplus
        return f"of {len(expected)} objects {missing} are missing or differ, and {unexpected} others are there"
    return _details(expected[pairs[:, 0]], actual[pairs[:, 1]], tolerance)


def iou(first: Boxes, second: Boxes) -> npt.NDArray[np.float64]:
    """Return the ``(n, m)`` overlaps of ``(n, 4)`` and ``(m, 4)`` boxes; two equal boxes without area overlap fully."""
    a, b = first[:, None].astype(np.float64), second[None].astype(np.float64)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = sides.clip(0).prod(axis=-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(axis=-1) for box in (a, b)]
    union = areas[0] + areas[1] - shared
    same = (a == b).all(axis=-1)
    return np.where(same, 1.0, shared / np.where(union > 0, union, 1.0))


def _pairs(
    expected: Segmentations | Poses | OrientedBoxes | Result, actual: Result, tolerance: Tolerance
) -> npt.NDArray[np.intp]:
    """Return ``(k, 2)`` index pairs of the same objects in both answers, in the order of the expected ones."""
    assert not isinstance(expected, ClassProbabilities)
    assert not isinstance(actual, ClassProbabilities)
    overlap = iou(expected.xyxy, actual.xyxy)
    overlap[expected.class_id[:, None] != actual.class_id[None]] = 0
    overlap[np.abs(expected.confidence[:, None] - actual.confidence[None]) > tolerance.score] = 0
    pairs = []
    for row in range(len(expected)):
        if len(actual) and overlap[row, best := int(overlap[row].argmax())] >= max(tolerance.iou, 1e-9):
            pairs.append((row, best))
            overlap[:, best] = 0
    return np.array(pairs, np.intp).reshape(-1, 2)


def _unpaired(paired: npt.NDArray[np.intp], result: Result, sure: float) -> int:
    """Count the objects without a partner whose score is above the threshold by more than the tolerance."""
    assert not isinstance(result, ClassProbabilities)
    alone = np.ones(len(result), np.bool_)
    alone[paired] = False
    return int((alone & (result.confidence > sure)).sum())


def _details(expected: Result, actual: Result, tolerance: Tolerance) -> str | None:
    """Compare masks, keypoints or corners, pair by pair."""
    if isinstance(expected, Segmentations) and isinstance(actual, Segmentations):
        return _masks(expected, actual, tolerance)
    if isinstance(expected, Poses) and isinstance(actual, Poses):
        points = expected.keypoints[..., :2] - actual.keypoints[..., :2]
        return _distance("a keypoint", points, tolerance.keypoint_px)
    if isinstance(expected, OrientedBoxes) and isinstance(actual, OrientedBoxes):
        return _distance("a corner", expected.xyxyxyxy - actual.xyxyxyxy, tolerance.keypoint_px)
    return None


def _masks(expected: Segmentations, actual: Segmentations, tolerance: Tolerance) -> str | None:
    for one, other in zip(expected, actual, strict=True):
        if one.rle[0] == other.rle[0]:
            continue
        first, second = one.mask[0], other.mask[0]
        overlap = (first & second).sum() / max((first | second).sum(), 1)
        if overlap < tolerance.iou:
            return f"a mask overlaps the expected one by {overlap:.3f}"
    return None


def _distance(what: str, offsets: Boxes, limit_px: float) -> str | None:
    worst = float(np.linalg.norm(offsets, axis=-1).max(initial=0))
    return f"{what} is off by {worst:.2f} px" if worst > limit_px else None


class PreparedRequest:
    """A request that is ready to send, with the check of its answer."""

    def __init__(self, payload: Payload, served: ServedModel, tolerance: Tolerance) -> None:
        self.stream = payload.stream
        self.request = infer_request(payload.model, payload.image, payload.parameters)
        self._model = payload.model
        self._served = served
        self._tolerance = tolerance
        self._conf = float(payload.parameters.get("conf", DEFAULT_CONF)) if payload.answer is not None else 0.0
        self._expect = payload.expect
        self._expected: Any = None if payload.answer is None else parse_response(payload.answer)

    def judge(self, response: Any, error: Exception | None) -> Exception | None:
        """Return the failure of a request; None if it was successful.

        Args:
            response: Triton's response message; None where there was an error.
            error: The error; None where there was an answer.
        """
        if self._expect is not None:
            return self._judge_refusal(error)
        if error is not None or self._same(response):
            return error
        try:
            wrong = difference(
                read_result(self._expected, self._served, self._model),
                read_result(response, self._served, self._model),
                self._tolerance,
                conf=self._conf,
            )
        except YoloTritonError as exc:  # the answer does not keep the contract
            return exc
        return None if wrong is None else WrongAnswerError(f"model {self._model!r}: {wrong}")

    def _judge_refusal(self, error: Exception | None) -> Exception | None:
        if error is None:
            return WrongAnswerError(f"model {self._model!r}: expected {self._expect}, got an answer")
        return None if self._expect in {kind.__name__ for kind in type(error).__mro__} else error

    def _same(self, response: Any) -> bool:
        """Tell whether an answer equals the expected one to the bit, as most do, without unpacking it."""
        expected = self._expected
        contents_equal = response.raw_output_contents == expected.raw_output_contents
        return bool(contents_equal and response.outputs == expected.outputs)


class Mix:
    """Draws prepared requests at random by their weights.

    Args:
        targets: The prepared requests.
        weights: Relative frequency of each.
        seed: Seed that reproduces the sequence.
    """

    def __init__(self, targets: Sequence[PreparedRequest], weights: Sequence[float], seed: str) -> None:
        self._targets = targets
        self._cumulative = list(accumulate(weights))
        self._chance = random.Random(seed)

    def draw(self) -> PreparedRequest:
        """Return the next request."""
        return self._chance.choices(self._targets, cum_weights=self._cumulative)[0]

    def fraction(self) -> float:
        """Return a random number from 0 to 1 of the same sequence."""
        return self._chance.random()


def prepared_requests(
    payloads: Sequence[Payload], served: Mapping[str, ServedModel], tolerance: Tolerance
) -> tuple[list[PreparedRequest], list[float]]:
    """Return the prepared requests of all payloads, and their weights."""
    targets = [PreparedRequest(payload, served[payload.model], tolerance) for payload in payloads]
    return targets, [payload.weight for payload in payloads]
