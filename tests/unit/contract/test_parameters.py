# SPDX-License-Identifier: Apache-2.0
"""Request parameters and the policy that reads them."""

from __future__ import annotations

import math

import pytest

from yolov8_contract.errors import ConfigError, InvalidParameterError
from yolov8_contract.parameters import ParameterPolicy, RequestParameters
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task

POLICY = ParameterPolicy(task=Task.DETECT, num_classes=80)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param({}, RequestParameters(), id="nothing-said"),
        pytest.param({"conf": 0}, RequestParameters(conf=0.0), id="whole-number-for-a-fraction"),
        pytest.param({"conf": 1.0, "iou": 0.0}, RequestParameters(conf=1.0, iou=0.0), id="both-ends"),
        pytest.param({"max_det": 1000}, RequestParameters(max_det=1000), id="the-limit-itself"),
        pytest.param({"classes": "0, 79"}, RequestParameters(classes=(0, 79)), id="classes-with-a-blank"),
        pytest.param({"classes": "5,2,5"}, RequestParameters(classes=(2, 5)), id="classes-twice"),
        pytest.param({"classes": 7}, RequestParameters(classes=(7,)), id="one-class-as-a-number"),
        pytest.param({"agnostic": True}, RequestParameters(agnostic=True), id="agnostic"),
        pytest.param({"user-agent": "curl", "traceparent": "00-1"}, RequestParameters(), id="forwarded-headers"),
    ],
)
def test_what_a_request_asks_for_is_read(raw: dict[str, object], expected: RequestParameters) -> None:
    assert POLICY.parse(raw) == expected


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param({"conf": 2}, "'conf' must be a number from 0 to 1, got 2", id="conf-above-1"),
        pytest.param({"conf": -0.1}, "'conf' must be", id="conf-below-0"),
        pytest.param({"conf": math.nan}, "'conf' must be", id="conf-nan"),
        pytest.param({"conf": True}, "'conf' must be", id="conf-bool"),
        pytest.param({"iou": "x"}, "'iou' must be a number from 0 to 1, got 'x'", id="iou-text"),
        pytest.param({"max_det": 0}, "'max_det' must be a whole number from 1 to 1000, got 0", id="max_det-0"),
        pytest.param({"max_det": 1001}, "from 1 to 1000, got 1001", id="max_det-above-the-limit"),
        pytest.param({"max_det": 2.5}, "'max_det' must be", id="max_det-fraction"),
        pytest.param({"classes": "900"}, "ids from 0 to 79, separated by commas, got '900'", id="class-unknown"),
        pytest.param({"classes": ""}, "'classes' must be", id="classes-empty"),
        pytest.param({"classes": "-1"}, "'classes' must be", id="class-negative"),
        pytest.param({"classes": "person"}, "'classes' must be", id="class-by-name"),
        pytest.param({"classes": True}, "'classes' must be", id="classes-bool"),
        pytest.param({"classes": "٣٣٣"}, "'classes' must be", id="class-in-other-digits-too-large"),
        pytest.param({"agnostic": "yes"}, "'agnostic' must be true or false, got 'yes'", id="agnostic-text"),
        pytest.param({"confidence": 0.5}, "'confidence' is not known, did you mean 'conf'", id="synonym"),
        pytest.param({"Conf": 0.5}, "did you mean 'conf'", id="other-case"),
        pytest.param({"max-det": 5}, "did you mean 'max_det'", id="hyphen"),
        pytest.param({"clases": "1"}, "did you mean 'classes'", id="typing-error"),
    ],
)
def test_a_wrong_value_or_a_near_miss_is_refused(raw: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidParameterError, match=r"^invalid parameter: ") as caught:
        POLICY.parse(raw)
    assert reason in str(caught.value)


def test_a_classifier_takes_none_of_them() -> None:
    policy = ParameterPolicy(task=Task.CLASSIFY, num_classes=3)

    with pytest.raises(InvalidParameterError, match="'conf' has no effect on a model of task 'classify'"):
        policy.parse({"conf": 0.5})


def test_the_deployments_defaults_hold_where_a_request_is_silent() -> None:
    policy = ParameterPolicy(task=Task.DETECT, num_classes=80, defaults=RequestParameters(conf=0.4, max_det=10))

    assert policy.parse({"iou": 0.5}) == RequestParameters(conf=0.4, iou=0.5, max_det=10)


def test_a_policy_survives_its_way_through_a_configuration() -> None:
    model = ServedModel(task=Task.DETECT, labels=("a", "b", "c"), imgsz=(640, 640))
    defaults = RequestParameters(conf=0.1, classes=(0, 2), agnostic=True, max_det=7)
    policy = ParameterPolicy(task=Task.DETECT, num_classes=3, defaults=defaults, max_det_limit=50)
    config = {
        "name": "m",
        "parameters": {name: {"string_value": text} for name, text in policy.to_parameters().items()},
    }

    assert ParameterPolicy.from_config(config, model) == policy


@pytest.mark.parametrize(
    ("defaults", "limit", "reason"),
    [
        pytest.param(RequestParameters(conf=1.5), 1000, "'conf' must be", id="conf"),
        pytest.param(RequestParameters(max_det=301), 300, "'max_det' must be", id="max_det-above-its-limit"),
        pytest.param(RequestParameters(classes=(80,)), 1000, "'classes' must be", id="class-unknown"),
        pytest.param(RequestParameters(), 0, "max_det_limit", id="limit"),
    ],
)
def test_a_policy_with_wrong_defaults_is_refused(defaults: RequestParameters, limit: int, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        ParameterPolicy(task=Task.DETECT, num_classes=80, defaults=defaults, max_det_limit=limit)
