# SPDX-License-Identifier: Apache-2.0
"""Which anchors are looked at, and in which order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from yolov8_contract.candidates import MAX_CANDIDATES, find_candidates
from yolov8_contract.parameters import RequestParameters

Floats = npt.NDArray[np.float32]


def head(scores: list[list[float]] | Floats, extra: int = 0) -> Floats:
    """Return a head with these ``(classes, anchors)`` scores; anchor i has its box at (i, 2 i), 4 x 6 pixels."""
    rows = np.asarray(scores, np.float32)
    index = np.arange(rows.shape[1], dtype=np.float32)
    boxes = np.stack([index, 2 * index, np.full_like(index, 4), np.full_like(index, 6)])
    return np.concatenate([boxes, rows, *[index[None] + 10 * k for k in range(extra)]])


def test_the_best_class_of_each_anchor_counts_and_the_first_of_equals() -> None:
    found = find_candidates(head([[0.3, 0.5, 0.9], [0.8, 0.5, 0.1]]), 2, RequestParameters())

    assert found.classes.tolist() == [0, 1, 0]
    assert found.scores.tolist() == np.array([0.9, 0.8, 0.5], np.float32).tolist()


def test_equal_scores_keep_the_order_of_the_head() -> None:
    found = find_candidates(head([[0.5, 0.7] * 200]), 1, RequestParameters())

    assert found.boxes[:, 0].tolist() == [*range(1, 400, 2), *range(0, 400, 2)]


def test_boxes_have_corners_around_their_centre() -> None:
    found = find_candidates(head([[0.1, 0.1, 0.9]]), 1, RequestParameters())

    assert found.corners.tolist() == [[0, 1, 4, 7]]


def test_what_a_task_adds_stays_with_its_anchor() -> None:
    found = find_candidates(head([[0.5, 0.1, 0.7]], extra=3), 1, RequestParameters())

    assert found.extras.tolist() == [[2, 12, 22], [0, 10, 20]]


@pytest.mark.parametrize(
    ("score", "conf", "expected"),
    [
        pytest.param(0.25, 0.25, 0, id="equal-is-not-above"),
        pytest.param(np.nextafter(np.float32(0.25), np.float32(1)), 0.25, 1, id="one-step-above"),
        pytest.param(0.6, 0.6, 0, id="equal-in-float32"),  # float32(0.6) is above the double 0.6
        pytest.param(1e-9, 0.0, 1, id="anything-above-zero"),
        pytest.param(0.0, 0.0, 0, id="zero-is-not-above-zero"),
        pytest.param(1.0, 1.0, 0, id="nothing-is-above-one"),
    ],
)
def test_scores_have_to_be_above_conf(score: float, conf: float, expected: int) -> None:
    assert len(find_candidates(head([[score]]), 1, RequestParameters(conf=conf))) == expected


def test_only_wanted_classes_are_looked_at() -> None:
    scores = head([[0.9, 0.1, 0.1, 0.1], [0.8, 0.6, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1]])

    found = find_candidates(scores, 3, RequestParameters(classes=(1, 2)))

    assert found.classes.tolist() == [2, 1]  # the first anchor's best class is not among them


def test_of_too_many_the_best_are_looked_at() -> None:
    scores = np.linspace(0.3, 0.9, MAX_CANDIDATES + 500, dtype=np.float32)[None]

    found = find_candidates(head(scores), 1, RequestParameters())

    assert found.scores.tolist() == scores[0, :499:-1].tolist()


def test_nothing_above_conf_is_no_candidates() -> None:
    found = find_candidates(head([[0.1, 0.2]], extra=2), 1, RequestParameters())

    assert (len(found), found.corners.shape, found.extras.shape) == (0, (0, 4), (0, 2))
