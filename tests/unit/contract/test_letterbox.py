# SPDX-License-Identifier: Apache-2.0
"""Geometry against Ultralytics' own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from ultralytics.data.augment import LetterBox
from ultralytics.utils import ops

from yolov8_contract.letterbox import PAD_VALUE, Letterbox

SIDES = st.integers(1, 6000)
INPUT_SIDES = st.integers(1, 40).map(lambda strides: 32 * strides)
SPECIAL = [(1, 1), (1, 5000), (5000, 1), (2, 3), (640, 640), (641, 639), (1079, 809), (1571, 3775)]


def every_geometry(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test with images of all sizes in front of networks of all sizes."""
    for shape in SPECIAL:
        test = example(shape=shape, imgsz=(640, 640))(example(shape=shape, imgsz=(384, 640))(test))
    return given(shape=st.tuples(SIDES, SIDES), imgsz=st.tuples(INPUT_SIDES, INPUT_SIDES))(test)


@every_geometry
def test_the_image_lies_where_ultralytics_puts_it(shape: tuple[int, int], imgsz: tuple[int, int]) -> None:
    reference = LetterBox(imgsz, auto=False).get_params({"img": np.empty((*shape, 3), np.uint8)})

    found = Letterbox.fit(shape, imgsz)

    assert found.new_shape[::-1] == reference["new_unpad"]
    assert (found.top, found.left) == (reference["top"], reference["left"])


def test_the_border_is_as_grey_as_ultralytics() -> None:
    padded = LetterBox((64, 64), auto=False)(image=np.zeros((32, 64, 3), np.uint8))

    assert padded[0, 0].tolist() == [PAD_VALUE] * 3


@pytest.mark.slow
@every_geometry
def test_boxes_come_back_as_scale_boxes_brings_them(shape: tuple[int, int], imgsz: tuple[int, int]) -> None:
    boxes = np.random.default_rng(1).uniform(-20, 1300, (50, 4)).astype(np.float32)

    found = Letterbox.fit(shape, imgsz).boxes_to_image(boxes)

    np.testing.assert_array_equal(found, ops.scale_boxes(imgsz, torch.tensor(boxes), shape).numpy())


@pytest.mark.slow
@pytest.mark.parametrize("dims", [2, 3])
@every_geometry
def test_points_come_back_as_scale_coords_brings_them(
    shape: tuple[int, int], imgsz: tuple[int, int], dims: int
) -> None:
    points = np.random.default_rng(2).uniform(-20, 1300, (5, 17, dims)).astype(np.float32)

    found = Letterbox.fit(shape, imgsz).points_to_image(points)

    np.testing.assert_array_equal(found, ops.scale_coords(imgsz, torch.tensor(points), shape).numpy())


@every_geometry
def test_rotated_boxes_come_back_unclipped_and_with_their_angle(shape: tuple[int, int], imgsz: tuple[int, int]) -> None:
    boxes = np.random.default_rng(3).uniform(-20, 1300, (50, 5)).astype(np.float32)
    reference = torch.tensor(boxes)
    reference[:, :4] = ops.scale_boxes(imgsz, reference[:, :4].clone(), shape, xywh=True)

    found = Letterbox.fit(shape, imgsz).rotated_to_image(boxes)

    np.testing.assert_array_equal(found, reference.numpy())


@pytest.mark.parametrize("move", ["boxes_to_image", "points_to_image", "rotated_to_image"])
def test_what_came_in_is_left_as_it_was(move: str) -> None:
    width = {"boxes_to_image": 4, "points_to_image": 3, "rotated_to_image": 5}[move]
    rows = np.full((2, width), 7, np.float32)

    moved = getattr(Letterbox.fit((10, 20), (64, 64)), move)(rows)

    assert (rows == 7).all()
    assert moved.dtype == np.float32


@pytest.mark.parametrize("move", ["boxes_to_image", "rotated_to_image"])
def test_no_boxes_stay_no_boxes(move: str) -> None:
    width = {"boxes_to_image": 4, "rotated_to_image": 5}[move]

    assert getattr(Letterbox.fit((10, 20), (64, 64)), move)(np.empty((0, width), np.float32)).shape == (0, width)
