# SPDX-License-Identifier: Apache-2.0
"""A request made ready in the process that sends it, and the judge of its answers."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from yolov8_contract.served_model import ServedModel
from yolov8_loadtest.answer_check import DEFAULT_CONF, difference
from yolov8_loadtest.connection import infer_request, response_of, result_of
from yolov8_loadtest.errors import WrongAnswerError
from yolov8_loadtest.payloads import Payload
from yolov8_loadtest.traffic import Tolerance
from yolov8_triton import YoloTritonError


class Target:
    """One payload, ready to send."""

    def __init__(self, payload: Payload, served: ServedModel, tolerance: Tolerance) -> None:
        self.stream = payload.stream
        self.request = infer_request(payload.model, payload.image, payload.parameters)
        self._model = payload.model
        self._served = served
        self._tolerance = tolerance
        self._conf = float(payload.parameters.get("conf", DEFAULT_CONF)) if payload.answer is not None else 0.0
        self._expect = payload.expect
        self._expected: Any = None if payload.answer is None else response_of(payload.answer)

    def judge(self, response: Any, error: Exception | None) -> Exception | None:
        """Return what went wrong, None if this is the right answer.

        Args:
            response: Triton's response message, None where there was an error.
            error: The error.
        """
        if self._expect is not None:
            return self._judge_refusal(error)
        if error is not None or self._same(response):
            return error
        try:
            wrong = difference(
                result_of(self._expected, self._served, self._model),
                result_of(response, self._served, self._model),
                self._tolerance,
                conf=self._conf,
            )
        except YoloTritonError as exc:  # it is no answer of this contract
            return exc
        return None if wrong is None else WrongAnswerError(f"model {self._model!r}: {wrong}")

    def _judge_refusal(self, error: Exception | None) -> Exception | None:
        if error is None:
            return WrongAnswerError(f"model {self._model!r}: expected {self._expect}, got an answer")
        return None if self._expect in {kind.__name__ for kind in type(error).__mro__} else error

    def _same(self, response: Any) -> bool:
        """Most answers are the expected one to the bit, and need not be unpacked."""
        expected = self._expected
        contents_equal = response.raw_output_contents == expected.raw_output_contents
        return bool(contents_equal and response.outputs == expected.outputs)


class Mix:
    """Targets drawn at random by their weights.

    Args:
        targets: What to draw from.
        weights: How often, against the others.
        seed: Makes the sequence the same again.
    """

    def __init__(self, targets: Sequence[Target], weights: Sequence[float], seed: str) -> None:
        self._targets = targets
        self._cumulative = list(accumulate(weights))
        self._chance = random.Random(seed)

    def draw(self) -> Target:
        """Return the next one."""
        return self._chance.choices(self._targets, cum_weights=self._cumulative)[0]

    def fraction(self) -> float:
        """Return a random number from 0 to 1, of the same sequence."""
        return self._chance.random()


def targets_of(
    payloads: Sequence[Payload], served: Mapping[str, ServedModel], tolerance: Tolerance
) -> tuple[list[Target], list[float]]:
    """Return the targets of all payloads, and their weights."""
    targets = [Target(payload, served[payload.model], tolerance) for payload in payloads]
    return targets, [payload.weight for payload in payloads]
