# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_loadtest.scenario.scenario import Tolerance
from yolov8_loadtest.workload.answers import Mix, PreparedRequest, prepared_requests
from yolov8_loadtest.workload.requests import Payload
from yolov8_triton import InvalidImageError, InvalidParameterError, ServerOverloadedError

MODEL = ServedModel(task=Task.DETECT, labels=("cat", "dog"), imgsz=(64, 64))


def response(*, score: float = 0.9, box: tuple[float, ...] = (1, 2, 30, 40), objects: int = 1) -> Any:
    """Return an answer of Triton's with copies of one object."""
    message = pb.ModelInferResponse(model_name="yolov8n")
    arrays = {
        "orig_shape": ("INT32", np.array([[48, 64]], np.int32)),
        "num_detections": ("INT32", np.array([[objects]], np.int32)),
        "detection_boxes": ("FP32", np.array([[box] * objects], np.float32).reshape(1, objects, 4)),
        "detection_scores": ("FP32", np.full((1, objects), score, np.float32)),
        "detection_classes": ("INT32", np.zeros((1, objects), np.int32)),
    }
    for name, (datatype, array) in arrays.items():
        message.outputs.add(name=name, datatype=datatype, shape=array.shape)
        message.raw_output_contents.append(array.tobytes())
    return message


def payload(*, expect: str | None = None, weight: float = 1.0, stream: str = "photos") -> Payload:
    answer = None if expect else response().SerializeToString()
    return Payload(
        stream=stream, model="yolov8n", image=b"jpeg", parameters={}, weight=weight, answer=answer, expect=expect
    )


def prepared(expect: str | None = None) -> PreparedRequest:
    return PreparedRequest(payload(expect=expect), MODEL, Tolerance())


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(response(), id="the-same"),
        pytest.param(response(score=0.905), id="within-the-score's-tolerance"),
        pytest.param(response(box=(1, 2, 30, 40.1)), id="within-the-box's-tolerance"),
    ],
)
def test_an_answer_within_the_tolerance_is_successful(answer: Any) -> None:
    assert prepared().judge(answer, None) is None


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(response(objects=0), "1 are missing or differ", id="no-object"),
        pytest.param(response(box=(1, 2, 30, 20)), "1 are missing or differ, and 1 others", id="another-box"),
        pytest.param(pb.ModelInferResponse(), "output 'num_detections'", id="no-tensors"),
    ],
)
def test_a_wrong_answer_is_a_failure_that_names_the_model(answer: Any, said: str) -> None:
    failure = prepared().judge(answer, None)

    assert failure is not None
    assert said in str(failure)
    assert "yolov8n" in str(failure)


def test_an_error_is_the_failure() -> None:
    error = ServerOverloadedError("full")

    assert prepared().judge(None, error) is error


def test_an_expected_refusal_is_successful_also_by_a_base_class() -> None:
    refused = InvalidImageError("damaged")

    assert prepared(expect="InvalidImageError").judge(None, refused) is None
    assert prepared(expect="InvalidInputError").judge(None, refused) is None


def test_another_refusal_than_the_expected_one_is_the_failure() -> None:
    error = InvalidParameterError("conf")

    assert prepared(expect="InvalidImageError").judge(None, error) is error


def test_an_answer_where_a_refusal_was_expected_is_wrong() -> None:
    assert "expected InvalidImageError, got an answer" in str(
        prepared(expect="InvalidImageError").judge(response(), None)
    )


def test_a_mix_draws_by_weight_and_the_same_again_for_a_seed() -> None:
    payloads = [payload(weight=3, stream="often"), payload(weight=1, stream="seldom")]
    requests, weights = prepared_requests(payloads, {"yolov8n": MODEL}, Tolerance())

    drawn, again = ([mix.draw().stream for _ in range(4000)] for mix in (Mix(requests, weights, "7") for _ in range(2)))

    assert drawn == again
    assert Counter(drawn)["often"] == pytest.approx(3000, rel=0.05)
