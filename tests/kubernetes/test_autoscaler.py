# SPDX-License-Identifier: Apache-2.0
"""The algorithm that the drill replays does what the documentation of the HorizontalPodAutoscaler says."""

from __future__ import annotations

import pytest

from tests.kubernetes.scaling.autoscaler import Autoscaler, Direction, Policy, reversals

FREE = Direction(0, [Policy("Pods", 1000, 15)])
CHART_UP = Direction(0, [Policy("Percent", 100, 30), Policy("Pods", 2, 30)])
CHART_DOWN = Direction(300, [Policy("Pods", 1, 60)])


def scaler(pods: int, *, up: Direction = FREE, down: Direction = FREE, least: int = 1) -> Autoscaler:
    return Autoscaler(least, 20, up, down, pods)


@pytest.mark.parametrize(
    ("ratio", "ready", "wanted"),
    [
        pytest.param(1.0, 4, 4, id="target"),
        pytest.param(1.09, 4, 4, id="within-the-tolerance"),
        pytest.param(0.9, 4, 4, id="within-the-tolerance-below"),
        pytest.param(1.2, 4, 5, id="rounded-up"),
        pytest.param(0.5, 4, 2, id="half"),
        pytest.param(0.0, 4, 1, id="never-fewer-than-the-fewest"),
        pytest.param(9.0, 4, 20, id="never-more-than-the-most"),
        pytest.param(2.0, 2, 4, id="pods-that-are-not-ready-do-not-count"),
    ],
)
def test_the_formula_multiplies_the_ready_pods(ratio: float, ready: int, wanted: int) -> None:
    assert scaler(4).step(0, [ratio], ready) == wanted


def test_the_metric_that_asks_for_the_most_pods_decides() -> None:
    assert scaler(4).step(0, [0.2, 1.5, 1.0], 4) == 6


@pytest.mark.parametrize(("ratios", "wanted"), [([None, 0.2], 4), ([None, 2.0], 8), ([None, None], 4)])
def test_without_one_metric_pods_are_added_and_not_removed(ratios: list[float | None], wanted: int) -> None:
    assert scaler(4).step(0, ratios, 4) == wanted


def test_the_larger_policy_limits_what_is_added() -> None:
    """Two pods in 30 s from 2 on, twice as many from 4 on."""
    asked = scaler(2, up=CHART_UP)

    assert [asked.step(now_s, [10.0], asked.pods) for now_s in range(0, 105, 15)] == [4, 4, 8, 8, 16, 16, 20]


def test_pods_are_removed_one_by_one_after_the_window() -> None:
    asked = scaler(6, up=CHART_UP, down=CHART_DOWN, least=2)
    pods = {now_s: asked.step(now_s, [0.1], asked.pods) for now_s in range(0, 600, 15)}

    assert pods[285] == 6
    assert [pods[now_s] for now_s in (300, 345, 360, 420, 480, 585)] == [5, 5, 4, 3, 2, 2]


def test_a_load_that_flaps_within_the_window_removes_nothing() -> None:
    asked = scaler(2, up=CHART_UP, down=CHART_DOWN)
    pods = [asked.step(now_s, [1.5 if now_s // 60 % 2 else 0.3], 4) for now_s in range(0, 1200, 15)]

    assert reversals(pods) == 0
    assert max(pods) == pods[-1]


def test_a_window_for_adding_waits_for_the_lowest_wish() -> None:
    asked = scaler(2, up=Direction(60, FREE.policies))

    assert [asked.step(now_s, [2.0 if now_s else 1.0], 2) for now_s in range(0, 90, 15)] == [2, 2, 2, 2, 4, 4]


def test_percents_are_rounded_away_from_the_present_number() -> None:
    half = Policy("Percent", 50, 60)

    assert scaler(3, up=Direction(0, [half])).step(0, [9.0], 3) == 5
    assert scaler(3, down=Direction(0, [half])).step(0, [0.1], 3) == 1


@pytest.mark.parametrize(("pods", "count"), [([2, 2, 4, 8], 0), ([2, 4, 4, 3, 2], 1), ([2, 4, 3, 4, 3], 3), ([], 0)])
def test_reversals_are_counted(pods: list[int], count: int) -> None:
    assert reversals(pods) == count
