# SPDX-License-Identifier: Apache-2.0
"""The graph's pixels against the contract's letterbox and centre crop, done with OpenCV and the contract's resize."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests import corpus
from tests.dali.conftest import Array, Twin
from tests.data.warmup import PICTURE
from yolov8_contract.center_crop import CenterCrop
from yolov8_contract.letterbox import PAD_VALUE, Letterbox

SIZES = [
    (333, 517), (2000, 1), (1, 2000), (640, 640), (1080, 810), (3024, 4032), (641, 640), (640, 641), (1280, 1001),
    (1001, 1280), (639, 639), (100, 37), (1279, 1280), (3000, 7), (97, 1281), (1, 1), (2, 3), (5000, 1), (1, 5000),
    (500, 333), (1079, 809), (809, 1079), (1571, 3775), (427, 640), (480, 640), (720, 1280), (1081, 1921), (31, 33),
    (1000, 999), (639, 1281), (641, 1279), (213, 1067), (1920, 1088), (17, 1283),
]  # fmt: skip
"""Height and width: paddings that end in .5, gains that round, longest sides below, at and above the input's."""

INPUTS = [(640, 640), (320, 512), (416, 160)]
JPEGS = [
    pytest.param(content, id=name)
    for name, content in corpus.good_images().items()
    if name.startswith("jpeg") and "exif" not in name
]


def jpeg(height: int, width: int) -> bytes:
    return cv2.imencode(".jpg", corpus.picture(height, width)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


def decoded(content: bytes) -> Array:
    """Return red, green, blue as displayed."""
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def letterboxed(image: Array, imgsz: tuple[int, int]) -> tuple[Array, Array]:
    """Return the input that the contract asks for, and where in it padding is."""
    fit = Letterbox.fit(image.shape[:2], imgsz)
    height, width = fit.new_shape
    inside = np.s_[fit.top : fit.top + height, fit.left : fit.left + width]
    expected = np.full((*imgsz, 3), PAD_VALUE, np.uint8)
    expected[inside] = image if fit.new_shape == image.shape[:2] else cv2.resize(image, (width, height))
    padding = np.ones(imgsz, bool)
    padding[inside] = False
    return expected, padding


@pytest.mark.parametrize("imgsz", INPUTS, ids=str)
@pytest.mark.parametrize("network_input", ["fp32", "uint8"])
def test_odd_sizes_give_the_contracts_letterbox(
    twin: Callable[..., Twin], imgsz: tuple[int, int], network_input: str
) -> None:
    contents = [jpeg(*size) for size in SIZES]

    answers = twin(imgsz=imgsz, network_input=network_input).run(contents)

    differences = []
    for size, content, (images, orig_shape) in zip(SIZES, contents, answers, strict=True):
        expected, padding = letterboxed(decoded(content), imgsz)
        assert orig_shape == size
        differences.append(difference(images, expected, padding, size))
    print(f"{network_input} {imgsz}: mean difference {np.mean(differences):.4f} of 255 over {len(SIZES)} sizes")


@pytest.mark.parametrize("size", [(333, 517), (120, 161), (701, 640)], ids=str)
def test_each_exif_orientation_is_applied(twin: Callable[..., Twin], size: tuple[int, int]) -> None:
    picture = Image.fromarray(corpus.picture(*size))
    contents = [
        corpus.encode(picture, "JPEG", quality=92, exif=b"Exif\0\0" + corpus.exif(orientation))
        for orientation in range(1, 9)
    ]

    answers = twin().run(contents)

    for orientation, content, (images, orig_shape) in zip(range(1, 9), contents, answers, strict=True):
        assert orig_shape == (size if orientation < 5 else size[::-1])
        difference(images, *letterboxed(decoded(content), (640, 640)), orientation)


@pytest.mark.parametrize("content", JPEGS)
def test_each_kind_of_jpeg_is_decoded_as_opencv_does(twin: Callable[..., Twin], content: bytes) -> None:
    ((images, _),) = twin().run([content])

    expected, padding = letterboxed(decoded(content), (640, 640))
    # Four colours become three in another rounding than OpenCV's.
    difference(images, expected, padding, "kind", allowed=2 if b"Adobe" in content else 1)


def test_a_batch_of_the_picture_to_warm_up_with_is_decoded(twin: Callable[..., Twin]) -> None:
    content = PICTURE.read_bytes()

    answers = twin().run([content] * 8)

    for images, orig_shape in answers:
        assert orig_shape == (1080, 1920)
        difference(images, *letterboxed(decoded(content), (640, 640)), "warm-up")


def difference(images: Array, expected: Array, padding: Array, what: Any, allowed: int = 1) -> float:
    """Compare an input with the expected one, in units of 255; return the mean difference."""
    if images.dtype == np.float32:
        padded = images[:, padding]
        assert (padded == np.float32(PAD_VALUE) / np.float32(255)).all(), f"{what}: padding"
        pixels = images.transpose(1, 2, 0) * 255.0
    else:
        assert (images[padding] == PAD_VALUE).all(), f"{what}: padding"
        pixels = images.astype(float)
    off = np.abs(pixels - expected)
    assert off.max() <= allowed + 1e-3, f"{what}: {off.max()} of 255"
    return float(off.mean())


@pytest.mark.parametrize("imgsz", [(224, 224), (160, 256)], ids=str)
def test_a_classifiers_input_is_pillows_within_two_grey_levels_but_at_its_edge(
    twin: Callable[..., Twin], imgsz: tuple[int, int]
) -> None:
    """Beyond the image DALI repeats its outermost pixels, where Pillow gives the others more weight."""
    contents = [jpeg(*size) for size in SIZES]

    answers = twin(task="classify", imgsz=imgsz, network_input="uint8").run(contents)

    for size, content, (images, orig_shape) in zip(SIZES, contents, answers, strict=True):
        off = np.abs(images.astype(int) - CenterCrop.fit(size, imgsz).apply(decoded(content)))
        assert orig_shape == size
        assert off[1:-1, 1:-1].max() <= 2, f"{size}: {off[1:-1, 1:-1].max()}"
        assert off.max() <= 20, f"{size}: {off.max()}"
        assert off.mean() <= 0.25, f"{size}: {off.mean()}"
