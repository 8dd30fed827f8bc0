# SPDX-License-Identifier: Apache-2.0
"""Tiles are those of supervision's slicer, and cover the image."""

from __future__ import annotations

import numpy as np
import pytest
import supervision as sv
from hypothesis import given
from hypothesis import strategies as st

from yolov8_contract.slices import Slicing

SIDES = st.integers(1, 1500)


def tiles_of(height: int, width: int, size: int, overlap: float) -> np.ndarray:
    return np.array(Slicing(size=size, overlap=overlap).tiles((height, width)))


@pytest.mark.slow
@given(SIDES, SIDES, st.integers(32, 700), st.floats(0, 0.9))
def test_tiles_are_those_of_supervision(height: int, width: int, size: int, overlap: float) -> None:
    expected = sv.InferenceSlicer._generate_offset((width, height), (size, size), (round(size * overlap),) * 2)

    np.testing.assert_array_equal(tiles_of(height, width, size, overlap), expected)


@pytest.mark.slow
@given(SIDES, SIDES, st.integers(32, 700), st.floats(0, 0.9))
def test_tiles_cover_the_image_and_are_counted(height: int, width: int, size: int, overlap: float) -> None:
    slicing = Slicing(size=size, overlap=overlap)
    covered = np.zeros((height, width), bool)
    tiles = slicing.tiles((height, width))
    for tile in tiles:
        assert tile.shape == (tile.bottom - tile.top, tile.right - tile.left)
        covered[tile.top : tile.bottom, tile.left : tile.right] = True

    assert covered.all()
    assert len(tiles) == slicing.count((height, width))


@pytest.mark.parametrize(
    ("shape", "count"), [((640, 640), 1), ((639, 2), 1), ((641, 640), 2), ((1080, 1920), 8), ((2160, 3840), 32)]
)
def test_common_images_need_few_tiles(shape: tuple[int, int], count: int) -> None:
    assert Slicing(size=640).count(shape) == count


def test_an_enormous_image_is_counted_at_once() -> None:
    assert Slicing(size=32, overlap=0.9).count((1_000_000, 1_000_000)) > 10**11
