# SPDX-License-Identifier: Apache-2.0
"""The classifier's resize and crop against torchvision and Pillow, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torchvision.transforms as T  # noqa: N812  (as it is everywhere)
from PIL import Image
from ultralytics.data.augment import classify_transforms

from tests import corpus
from yolov8_contract.center_crop import CenterCrop


def reference(image: np.ndarray, imgsz: tuple[int, int]) -> np.ndarray:
    return np.asarray(T.Compose(classify_transforms(imgsz).transforms[:2])(Image.fromarray(image)))


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 10_007 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def sizes(count: int) -> list[tuple[int, int, int]]:
    """Return heights, widths and sides of inputs, spread evenly over magnitudes."""
    rng = np.random.default_rng(3)
    heights, widths = np.exp(rng.uniform(0, np.log(700), (2, count))).astype(int)
    sides = rng.choice([32, 33, 64, 224], count)
    return [(int(h), int(w), int(s)) for h, w, s in zip(heights, widths, sides, strict=True)]


@pytest.mark.slow
def test_random_sizes_come_out_as_pillow_resizes_them() -> None:
    for height, width, side in sizes(150):
        image = noise(height, width)
        fitted = CenterCrop.fit((height, width), (side, side)).apply(image)
        assert np.array_equal(fitted, reference(image, (side, side))), (height, width, side)


@pytest.mark.parametrize(
    ("height", "width", "imgsz"),
    [
        pytest.param(1, 1, (224, 224), id="1x1"),
        pytest.param(1, 600, (64, 64), id="one-row"),
        pytest.param(600, 1, (64, 64), id="one-column"),
        pytest.param(3, 700, (224, 224), id="three-rows"),
        pytest.param(224, 224, (224, 224), id="nothing-to-do"),
        pytest.param(224, 500, (224, 224), id="cropped-only"),
        pytest.param(500, 224, (224, 224), id="cropped-only-upright"),
        pytest.param(225, 448, (224, 224), id="odd-border"),
        pytest.param(700, 330, (64, 64), id="height-first"),
        pytest.param(1079, 809, (224, 224), id="photograph"),
        pytest.param(300, 200, (128, 256), id="stretched-to-a-wide-input"),
        pytest.param(128, 300, (128, 256), id="stretched-along-one-axis"),
    ],
)
def test_special_shapes_come_out_as_pillow_resizes_them(height: int, width: int, imgsz: tuple[int, int]) -> None:
    image = noise(height, width)

    assert np.array_equal(CenterCrop.fit((height, width), imgsz).apply(image), reference(image, imgsz))


def test_a_soft_picture_comes_out_as_pillow_resizes_it() -> None:
    image = corpus.picture(333, 500)

    assert np.array_equal(CenterCrop.fit((333, 500), (224, 224)).apply(image), reference(image, (224, 224)))


@pytest.mark.parametrize(
    ("orig_shape", "new_shape", "top", "left"),
    [
        pytest.param((480, 640), (224, 298), 0, 37, id="long-side-cut-off-not-rounded"),
        pytest.param((640, 480), (298, 224), 37, 0, id="upright"),
        pytest.param((333, 334), (224, 224), 0, 0, id="hardly-wide"),
        pytest.param((224, 227), (224, 227), 0, 2, id="one-and-a-half-pixels-to-the-even"),
        pytest.param((224, 225), (224, 225), 0, 0, id="half-a-pixel-to-the-even"),
        pytest.param((1, 5000), (224, 1_120_000), 0, 559_888, id="one-row"),
    ],
)
def test_the_place_of_the_crop(orig_shape: tuple[int, int], new_shape: tuple[int, int], top: int, left: int) -> None:
    fit = CenterCrop.fit(orig_shape, (224, 224))

    assert (fit.new_shape, fit.top, fit.left) == (new_shape, top, left)


def test_an_extreme_image_needs_little_memory() -> None:
    # Resized as a whole it would be 224 x 1,120,000 pixels.
    fitted = CenterCrop.fit((1, 5000), (224, 224)).apply(noise(1, 5000))

    assert fitted.shape == (224, 224, 3)
    assert np.array_equal(fitted[0], fitted[-1])
