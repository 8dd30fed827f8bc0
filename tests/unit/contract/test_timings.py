# SPDX-License-Identifier: Apache-2.0
"""The times that composing models measure, and the parameter that asks for them."""

from __future__ import annotations

import time

import numpy as np
import pytest

from yolov8_contract import timings
from yolov8_contract.errors import ConfigError, InvalidParameterError
from yolov8_contract.parameters import ParameterPolicy, RequestParameters
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task

MEASURING = ParameterPolicy(task=Task.DETECT, num_classes=3, timings=True)


class Clock:
    """Stands in for the module ``time``."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(timings, "time", clock)
    return clock


def test_each_part_begins_where_the_one_before_it_ended(clock: Clock) -> None:
    times = timings.begun()
    for part, seconds in ((timings.CHECK, 0.001), (timings.DECODE, 0.004), (timings.LETTERBOX, 0.002)):
        clock.now += seconds
        timings.end(part, times)
    passed_on = timings.tensor(times)[0]
    clock.now += 0.03
    timings.end(timings.NETWORK, passed_on)
    clock.now += 0.005
    timings.end(timings.POSTPROCESS, passed_on)

    assert passed_on.tolist() == pytest.approx([1e6, 1, 4, 2, 0, 30, 5])


def test_the_time_of_a_part_that_is_not_measured_is_in_the_next_one(clock: Clock) -> None:
    times = timings.begun()
    clock.now += 0.001
    timings.end(timings.CHECK, times)
    clock.now += 0.02
    timings.end(timings.NETWORK, times)

    assert times == pytest.approx([1e6, 1, timings.NOT_MEASURED, timings.NOT_MEASURED, 0, 20, timings.NOT_MEASURED])


def test_a_clock_that_is_set_back_gives_no_negative_times(clock: Clock) -> None:
    times = timings.begun()
    clock.now -= 5
    timings.end(timings.CHECK, times)

    assert times[timings.CHECK] == 0


def test_without_a_question_there_are_zeros_that_stay(clock: Clock) -> None:
    times = timings.tensor(timings.unasked())[0]
    clock.now += 1
    timings.end(timings.NETWORK, times)

    assert times.tolist() == [0] * 7


def test_the_clock_is_the_machines() -> None:
    assert timings.begun()[timings.STARTED] == pytest.approx(time.time() * 1000, abs=1000)
    assert timings.tensor(timings.begun()).dtype == np.float64


@pytest.mark.parametrize(("value", "asked"), [(True, True), ("true", True), (False, False), ("false", False)])
def test_a_request_may_ask_for_them(value: object, asked: bool) -> None:
    assert MEASURING.parse({"timings": value}) == RequestParameters(timings=asked)


def test_a_classifier_may_be_asked_though_it_has_no_other_parameters() -> None:
    policy = ParameterPolicy(task=Task.CLASSIFY, num_classes=3, timings=True)

    assert policy.parse({"timings": True}).timings


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        pytest.param({"timings": 1}, "'timings' must be true or false, got 1", id="number"),
        pytest.param({"timings": "yes"}, "'timings' must be true or false, got 'yes'", id="text"),
        pytest.param({"timing": True}, "did you mean 'timings'", id="near-miss"),
    ],
)
def test_other_values_are_refused(raw: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidParameterError, match=reason):
        MEASURING.parse(raw)


def test_a_deployment_that_does_not_measure_says_so() -> None:
    policy = ParameterPolicy(task=Task.DETECT, num_classes=3)

    assert not policy.parse({"timings": False}).timings
    with pytest.raises(InvalidParameterError, match="export the model with --timings, or leave it out"):
        policy.parse({"timings": True})


def test_a_served_model_says_whether_it_measures() -> None:
    model = ServedModel(task=Task.DETECT, labels=("a",), imgsz=(64, 64), timings=True)
    parameters = {name: {"string_value": text} for name, text in model.to_parameters().items()}

    assert ServedModel.from_config({"name": "m", "parameters": parameters}) == model
    with pytest.raises(ConfigError, match="timings: expected true or false, got 1"):
        ServedModel.from_config({"name": "m", "parameters": {**parameters, "timings": {"string_value": "1"}}})
