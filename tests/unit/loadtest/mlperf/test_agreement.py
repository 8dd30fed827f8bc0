# SPDX-License-Identifier: Apache-2.0
"""LoadGen's figures and the load generator's: measured in turns, compared round by round, judged by their ratio."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import mlperf_loadgen
import numpy as np
import pytest

from yolov8_loadtest.compare.perf_analyzer import Reading
from yolov8_loadtest.errors import LoadTestError, PreparationError
from yolov8_loadtest.mlperf.accuracy import COLUMNS
from yolov8_loadtest.mlperf.agreement import (
    FIGURES,
    Comparison,
    Figures,
    as_figures,
    comparable,
    compare_in_turns,
    table,
    to_json,
)
from yolov8_loadtest.mlperf.log import read_verdict
from yolov8_loadtest.mlperf.scenarios import Expected, Length, Scenario, settings
from yolov8_loadtest.mlperf.system import System


def comparison(ours: list[float], theirs: list[float]) -> Comparison:
    return Comparison(scenario="Offline", in_flight=8, figure="images per s", ours=ours, theirs=theirs)


def test_both_take_turns_in_being_first() -> None:
    order: list[str] = []

    def ours(number: int) -> Figures:
        order.append(f"ours {number}")
        return {"samples_per_s": 20.0 + number}

    def theirs(number: int) -> Figures:
        order.append(f"theirs {number}")
        return {"samples_per_s": 10.0 + number}

    (found,) = compare_in_turns(Scenario.OFFLINE, 8, 3, ours=ours, theirs=theirs)

    assert order == ["ours 0", "theirs 0", "theirs 1", "ours 1", "ours 2", "theirs 2"]
    assert found == comparison([20.0, 21.0, 22.0], [10.0, 11.0, 12.0])


def test_a_drift_of_the_machine_does_not_count() -> None:
    slower = comparison([20.0, 10.0, 5.0], [20.2, 10.1, 5.05])

    assert slower.ratio == pytest.approx(0.990, abs=0.001)
    assert slower.agrees


@pytest.mark.parametrize(("ours", "agrees"), [(9.4, False), (9.6, True), (10.4, True), (10.6, False)])
def test_figures_agree_within_five_percent(ours: float, agrees: bool) -> None:
    assert comparison([ours], [10.0]).agrees is agrees


def test_the_table_and_the_json_tell_the_ratio_and_the_verdict() -> None:
    both = [comparison([9.0, 9.2, 8.8], [10.0, 10.0, 10.0]), comparison([10.0], [10.0])]

    assert table(both).splitlines()[2:] == [
        "| Offline | 8 | images per s | 9.00 | 10.0 | 0.900 | NO |",
        "| Offline | 8 | images per s | 10.0 | 10.0 | 1.000 | yes |",
    ]
    first, second = to_json(both)
    assert (first["ratio"], first["agrees"], first["ours"]) == (pytest.approx(0.9), False, [9.0, 9.2, 8.8])
    assert second["agrees"]


@pytest.mark.parametrize("missing", [{}, {"samples_per_s": math.nan}, {"samples_per_s": 0.0}])
def test_a_round_without_an_answer_is_an_error(missing: Figures) -> None:
    with pytest.raises(LoadTestError, match="Offline: a round has no samples_per_s"):
        compare_in_turns(Scenario.OFFLINE, 8, 1, ours=lambda _: {"samples_per_s": 1.0}, theirs=lambda _: missing)


def test_scenarios_that_no_caller_makes_are_left_out() -> None:
    assert comparable(list(Scenario)) == [Scenario.SINGLE_STREAM, Scenario.OFFLINE]
    with pytest.raises(PreparationError, match="compares SingleStream and Offline"):
        comparable([Scenario.SERVER, Scenario.MULTI_STREAM])


@pytest.mark.slow
@pytest.mark.parametrize("scenario", FIGURES)
def test_loadgens_log_has_the_figures_that_are_compared(tmp_path: Path, scenario: Scenario) -> None:
    def answer(*_: Any) -> Any:
        time.sleep(0.004)
        return np.empty((0, COLUMNS), np.float32)

    image = tmp_path / "0.jpg"
    image.write_bytes(b"0")
    expected = Expected(latency_s=0.004, rate=400, server_rate=100, server_limit_s=1)
    system = System(mlperf_loadgen, [image], answer, 2)
    system.run(settings(mlperf_loadgen, scenario, Length(seconds=1, full=False), expected, 1, accuracy=False), tmp_path)
    reading = as_figures(Reading(per_s=400.0, p50_ms=4.0, p90_ms=4.2, p99_ms=5.0))
    figures = read_verdict(tmp_path).figures

    found = compare_in_turns(scenario, 2, 1, ours=lambda _: reading, theirs=lambda _: figures)

    assert [one.ours[0] for one in found] == [reading[name] for name in FIGURES[scenario]]
    assert [one.theirs[0] for one in found] == [figures[name] for name in FIGURES[scenario]]
