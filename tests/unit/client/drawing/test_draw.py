# SPDX-License-Identifier: Apache-2.0
"""Test that results are drawn where the objects are, and that other pixels stay unchanged."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib import get_data_path
from PIL import Image

from yolov8_contract import rle
from yolov8_triton import (
    ClassProbabilities,
    Detections,
    InvalidImageError,
    OrientedBoxes,
    Poses,
    Result,
    Segmentations,
    draw,
)
from yolov8_triton._drawing import painting

HEIGHT, WIDTH = 480, 640
GREY = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
COMMON: dict[str, Any] = {"labels": ("person", "bus", "Фургон"), "orig_shape": (HEIGHT, WIDTH)}
ONE: dict[str, Any] = {"confidence": np.array([0.9], np.float32), "class_id": np.array([0], np.int32), **COMMON}
BOX = np.array([[200, 150, 400, 350]], np.float32)


def drawn(result: Result, pixels: npt.NDArray[np.uint8] = GREY) -> npt.NDArray[np.bool_]:
    """Return a mask of the pixels that the drawing has changed."""
    picture = np.asarray(draw(pixels, result, channels="RGB"))
    assert picture.shape == pixels.shape
    return (picture != pixels).any(axis=-1)


def inked(changed: npt.NDArray[np.bool_], x: float, y: float, reach: int = 3) -> bool:
    """Return whether anything is drawn near a point."""
    return bool(changed[round(y) - reach : round(y) + reach + 1, round(x) - reach : round(x) + reach + 1].any())


def detections(xyxy: npt.NDArray[np.float32] = BOX, class_id: int = 0) -> Detections:
    return Detections(xyxy=xyxy, **{**ONE, "class_id": np.array([class_id], np.int32)})


def test_a_second_picture_does_not_look_for_the_font_again(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn(detections())
    searched: list[str] = []
    monkeypatch.setattr(os, "walk", lambda folder, *_, **__: searched.append(str(folder)) or iter(()))

    assert drawn(detections()).any()
    assert searched == []


def test_a_font_in_the_working_directory_is_found_from_another_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copy(Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf", tmp_path)
    painting.font_path.cache_clear()
    monkeypatch.chdir(tmp_path)
    assert drawn(detections()).any()

    monkeypatch.chdir("/")

    assert painting.font_path() == str(tmp_path / "DejaVuSans.ttf")
    assert drawn(detections()).any()
    painting.font_path.cache_clear()


def test_a_box_has_a_frame_and_a_label_and_its_inside_is_unchanged() -> None:
    changed = drawn(detections())

    for x, y in ((300, 150), (300, 350), (200, 250), (400, 250)):
        assert inked(changed, x, y)
    assert changed[130:148, 202:260].mean() > 0.5  # the label is above the box
    assert not changed[170:330, 220:380].any()
    assert not changed[400:].any()


def test_a_label_at_the_upper_edge_stays_in_the_picture() -> None:
    changed = drawn(detections(np.array([[0, 0, 200, 100]], np.float32)))

    assert changed[3:12, 3:60].mean() > 0.5


def test_classes_have_different_colours() -> None:
    colours = {
        tuple(np.asarray(draw(GREY, detections(class_id=class_id), channels="RGB"))[350, 300]) for class_id in range(3)
    }

    assert len(colours) == 3


def test_class_names_in_other_scripts_look_different() -> None:
    letters = [
        np.asarray(draw(GREY, replace(detections(), labels=(name,)), channels="RGB"))[130:150, 200:300]
        for name in ("Фургон", "Пешеход", "??????")
    ]

    assert not np.array_equal(letters[0], letters[1])
    assert not np.array_equal(letters[0], letters[2])


@pytest.mark.slow
def test_lines_scale_with_the_image() -> None:
    large = np.full((2160, 3840, 3), 128, np.uint8)
    found = replace(detections(np.array([[1200, 900, 2400, 2000]], np.float32)), orig_shape=(2160, 3840))

    thick, thin = drawn(found, large)[1900:2100, 1800].sum(), drawn(detections())[300:400, 300].sum()
    assert thick >= 3 * thin > 0


def test_a_mask_colours_only_its_pixels() -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[200:300, 250:350] = True
    changes = np.flatnonzero(np.diff(mask.T.ravel())) + 1
    runs = np.diff([0, *changes, mask.size])
    found = Segmentations(xyxy=BOX, rle=np.array(rle.encode([runs]), object), **ONE)

    picture = np.asarray(draw(GREY, found, channels="RGB"))
    changed = (picture != GREY).any(axis=-1)

    np.testing.assert_array_equal(found.mask[0], mask)
    assert changed[200:300, 250:350].all()
    assert not changed[305:, :].any()
    assert len(np.unique(picture[220:280, 270:330].reshape(-1, 3), axis=0)) == 1  # translucent over one grey


def test_limbs_connect_the_keypoints_of_a_person() -> None:
    points = np.zeros((1, 17, 3), np.float32)
    points[0, :, :2] = [[300, 160 + 10 * number] for number in range(17)]
    points[0, :, 2] = 1
    points[0, 5], points[0, 6] = [250, 200, 1], [350, 200, 1]
    points[0, 16] = [220, 340, 0.1]

    changed = drawn(Poses(xyxy=BOX, keypoints=points, **ONE))

    assert inked(changed, 300, 200)  # from shoulder to shoulder
    assert inked(changed, 250, 200)
    assert not inked(changed, 220, 340)  # an ankle that is not visible


def test_keypoints_of_other_objects_are_points() -> None:
    points = np.array([[[250, 200], [350, 300], [300, 250], [260, 330]]], np.float32)

    changed = drawn(Poses(xyxy=BOX, keypoints=points, **ONE))

    assert all(inked(changed, x, y, reach=0) for x, y in points[0])
    assert not inked(changed, 275, 225)


def test_a_rotated_box_is_framed_along_its_sides() -> None:
    found = OrientedBoxes(xywhr=np.array([[300, 250, 200, 100, np.pi / 4]], np.float32), **ONE)

    changed = drawn(found)

    corners = found.xyxyxyxy[0]
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        assert inked(changed, *((start + end) / 2))
    left, _, right, bottom = found.xyxy[0].astype(int)
    assert not changed[bottom - 20 : bottom, left : left + 20].any()
    assert not changed[bottom - 20 : bottom, right - 20 : right].any()


def test_the_most_probable_class_has_the_longest_bar_of_the_panel() -> None:
    scores = np.array([0.1, 0.7, 0.2], np.float32)

    picture = np.asarray(draw(GREY, ClassProbabilities(scores=scores, **COMMON), channels="RGB")).astype(int)

    colourful = np.ptp(picture, axis=-1) > 100
    bars = colourful.sum(axis=1)
    lengths = [int(bars[rows].max()) for rows in np.split(np.arange(60), 3)]
    assert lengths[0] > 2 * lengths[1] > 2 * lengths[2] > 0
    assert (picture[200:] == 128).all()


def test_the_panel_of_a_small_picture_is_below_it() -> None:
    small = GREY[:64, :64]
    scores = np.array([0.1, 0.7, 0.2], np.float32)

    picture = np.asarray(
        draw(small, ClassProbabilities(scores=scores, labels=COMMON["labels"], orig_shape=(64, 64)), channels="RGB")
    )

    assert picture.shape[0] > 64
    left = (picture.shape[1] - 64) // 2
    np.testing.assert_array_equal(picture[:64, left : left + 64], small)


@pytest.mark.parametrize("kind", [Detections, Segmentations, Poses, OrientedBoxes])
def test_an_empty_result_changes_no_pixel(kind: Callable[..., Any]) -> None:
    assert not drawn(kind.empty(**COMMON)).any()  # type: ignore[attr-defined]


def test_the_given_image_is_not_changed() -> None:
    image = Image.fromarray(GREY)

    draw(image, detections())

    np.testing.assert_array_equal(np.asarray(image), GREY)


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(np.rot90(GREY)).save(file, "JPEG", exif=exif)

    assert draw(file.getvalue(), detections()).size == (WIDTH, HEIGHT)


def test_a_result_of_another_image_is_refused() -> None:
    with pytest.raises(ValueError, match="belongs to an image of 640 x 480 pixels, but this image has 10 x 20"):
        draw(np.zeros((20, 10, 3), np.uint8), detections(), channels="RGB")


def test_bytes_that_are_not_an_image_are_refused() -> None:
    with pytest.raises(InvalidImageError, match="no image format that Pillow knows, 4 bytes"):
        draw(b"text", detections())
