# SPDX-License-Identifier: Apache-2.0
"""Masks against Ultralytics' ``process_mask_native``."""

from __future__ import annotations

import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
import torch
from ultralytics.utils import ops

from tests import heads
from yolov8_contract.masks import mask_runs

Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

SIZES = [
    (1, 1), (1, 5000), (5000, 1), (2, 3), (37, 100), (160, 160), (333, 500), (480, 640), (639, 641), (640, 640),
    (640, 426), (1079, 809), (1571, 3775),
]  # fmt: skip


def filled(runs: npt.NDArray[np.intp] | None, shape: tuple[int, int]) -> Bools:
    """Paint run lengths pixel by pixel."""
    if runs is None:
        return np.zeros(shape, bool)
    assert (runs[1:] > 0).all(), "runs that touch are one run"
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape[::-1]).T


def reference(prototypes: Floats, coefficients: Floats, boxes: Floats, shape: tuple[int, int]) -> Bools:
    tensors = (torch.tensor(array) for array in (prototypes, coefficients, boxes))
    return ops.process_mask_native(*tensors, shape).numpy().astype(bool)


def objects(shape: tuple[int, int], count: int, seed: int) -> tuple[Floats, Floats]:
    """Return coefficients, and boxes in all places of the image; the last one is the image."""
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(0, 1, (count, 2, 2)), axis=1).reshape(count, 4)
    corners[-1] = 0, 0, 1, 1
    boxes = corners * [shape[1], shape[0], shape[1], shape[0]]
    return rng.normal(0, 1, (count, 32)).astype(np.float32), boxes.astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("imgsz", [(640, 640), (320, 512)], ids=["square", "rectangular"])
@pytest.mark.parametrize("shape", SIZES, ids=lambda shape: f"{shape[0]}x{shape[1]}")
def test_masks_are_those_of_ultralytics(shape: tuple[int, int], imgsz: tuple[int, int]) -> None:
    prototypes = heads.prototypes(imgsz, seed=1)
    coefficients, boxes = objects(shape, 6, seed=sum(shape))

    found = np.stack([filled(runs, shape) for runs in mask_runs(prototypes, coefficients, boxes, shape)])

    different = (found != reference(prototypes, coefficients, boxes, shape)).sum(axis=(1, 2))
    # Sums in another order: a pixel just at zero may fall on the other side.
    assert different.max() <= max(1, found[0].size * 1e-6)


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([50, 40, 50, 90], id="no-width"),
        pytest.param([50, 40, 90, 40], id="no-height"),
        pytest.param([50.2, 40.2, 50.8, 40.8], id="between-pixels"),
        pytest.param([0, 0, 0, 0], id="nothing"),
        pytest.param([49.5, 39.5, 50.5, 40.5], id="one-pixel"),
        pytest.param([50, 40, 51, 90], id="one-column"),
        pytest.param([50, 40, 90, 41], id="one-row"),
        pytest.param([50, 0, 90, 120], id="from-top-to-bottom"),
        pytest.param([0, 40, 160, 90], id="from-side-to-side"),
        pytest.param([0, 0, 160, 120], id="whole-image"),
        pytest.param([127, 0, 129, 120], id="across-strips"),
        pytest.param([127.5, 3.25, 128, 119.75], id="end-of-a-strip"),
    ],
)
def test_boxes_cut_masks_as_in_ultralytics(box: list[float]) -> None:
    waves = heads.prototypes((160, 160), seed=2)
    coefficients = np.abs(objects((120, 160), 1, seed=3)[0])
    boxes = np.array([box], np.float32)

    for prototypes in (waves, np.ones_like(waves), -np.ones_like(waves)):
        (found,) = mask_runs(prototypes, coefficients, boxes, (120, 160))

        expected = reference(prototypes, coefficients, boxes, (120, 160))[0]
        np.testing.assert_array_equal(filled(found, (120, 160)), expected)
        assert (found is None) == (not expected.any())


def test_zero_is_outside() -> None:
    nothing = np.zeros((32, 40, 40), np.float32)

    assert mask_runs(nothing, np.ones((1, 32), np.float32), np.array([[0, 0, 160, 160]], np.float32), (160, 160)) == [
        None
    ]


def test_no_objects_have_no_masks() -> None:
    empty = np.empty((0, 32), np.float32), np.empty((0, 4), np.float32)

    assert mask_runs(heads.prototypes((160, 160)), *empty, (160, 160)) == []


def test_a_fine_pattern_is_not_skipped() -> None:
    """Alternating prototypes: every row and column of pixels has changes."""
    prototypes = np.indices((40, 40)).sum(axis=0, dtype=np.float32)[None] % 2 - np.float32(0.5)
    coefficients, boxes = np.ones((1, 1), np.float32), np.array([[0, 0, 900, 900]], np.float32)

    (found,) = mask_runs(prototypes, coefficients, boxes, (900, 900))

    np.testing.assert_array_equal(filled(found, (900, 900)), reference(prototypes, coefficients, boxes, (900, 900))[0])


def test_a_large_image_takes_a_fraction_of_its_pixels_in_memory() -> None:
    shape = (6000, 8000)
    prototypes = heads.prototypes((640, 640), seed=4) + 3  # one blob
    coefficients, boxes = objects(shape, 3, seed=5)

    tracemalloc.start()
    mask_runs(prototypes, np.abs(coefficients), boxes, shape)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 48e6  # one plane of booleans; logits of the image would be 192 MB
