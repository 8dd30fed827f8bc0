# SPDX-License-Identifier: Apache-2.0
"""What the parity suite says of two masks that differ."""

from __future__ import annotations

import numpy as np
import pytest
from faster_coco_eval.core import mask as coco_mask

from tests.parity.matching import CROPPED, ONE_PIXEL, Arrays, Comparison, compare

SETTING = {"conf": 0.25, "iou": 0.7, "max_det": 300}
SIDE = 100
GAIN = 0.5
BOX = (10.0, 20.0, 50.0, 60.0)


def answer(box: tuple[float, ...], *, rows: range, columns: range, without: tuple[int, int] | None = None) -> Arrays:
    mask = np.zeros((SIDE, SIDE), np.uint8, order="F")
    mask[rows.start : rows.stop, columns.start : columns.stop] = 1
    if without:
        mask[without] = 0
    return {
        "orig_shape": (SIDE, SIDE),
        "confidence": np.float32([0.9]),
        "class_id": np.int64([0]),
        "xyxy": np.float32([box]),
        "masks": [coco_mask.encode(mask)["counts"]],
    }


def compared(ours: Arrays, theirs: Arrays) -> Comparison:
    found = Comparison()
    compare(found, "image", ours, theirs, SETTING, GAIN)
    return found


def moved(edge: int, by: float) -> tuple[float, ...]:
    return tuple(value + by * (number == edge) for number, value in enumerate(BOX))


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        pytest.param(moved(0, 0.01), range(20, 60), range(11, 50), id="left"),
        pytest.param(moved(1, 0.01), range(21, 60), range(10, 50), id="upper"),
        pytest.param(moved(2, 0.01), range(20, 60), range(10, 51), id="right"),
        pytest.param(moved(3, 0.01), range(20, 61), range(10, 50), id="lower"),
    ],
)
def test_a_mask_cut_off_a_pixel_further_is_on_the_border(box: tuple[float, ...], rows: range, columns: range) -> None:
    found = compared(answer(box, rows=rows, columns=columns), answer(BOX, rows=range(20, 60), columns=range(10, 50)))

    assert found.borderline == [f"image: {CROPPED}"]
    assert not found.unmatched


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        pytest.param(BOX, range(21, 60), range(10, 50), id="equal-boxes"),
        pytest.param(moved(1, 0.01), range(22, 60), range(10, 50), id="two-rows"),
        pytest.param(moved(1, 0.01), range(20, 60), range(10, 49), id="another-edge"),
        pytest.param(moved(1, 0.01), range(21, 60), range(10, 49), id="a-second-edge"),
    ],
)
def test_masks_that_differ_elsewhere_are_no_pair(box: tuple[float, ...], rows: range, columns: range) -> None:
    found = compared(answer(box, rows=rows, columns=columns), answer(BOX, rows=range(20, 60), columns=range(10, 50)))

    assert not found.borderline
    assert "pixels apart" in found.unmatched[0]


def test_one_pixel_of_a_small_mask_is_on_the_border() -> None:
    small = {"rows": range(20, 40), "columns": range(10, 30)}

    found = compared(answer(BOX, **small, without=(25, 15)), answer(BOX, **small))

    assert found.borderline == [f"image: {ONE_PIXEL}"]
