# SPDX-License-Identifier: Apache-2.0
"""Objects of tiles are merged as supervision merges them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import supervision as sv
from supervision.config import ORIENTED_BOX_COORDINATES

from tests.sliced_by_client import best_first, differences
from yolov8_contract import rle, signature
from yolov8_contract.mask_window import MaskWindow
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.polygons import corners_of, intersection_area
from yolov8_contract.served_model import ServedModel
from yolov8_contract.slice_merge import merge, packed
from yolov8_contract.slices import Slicing, Tile
from yolov8_contract.task import Task
from yolov8_triton import Detections, OrientedBoxes, Segmentations

SHAPE = (300, 400)
LABELS = ("a", "b")
KINDS: dict[Task, Any] = {Task.DETECT: Detections, Task.SEGMENT: Segmentations, Task.OBB: OrientedBoxes}
FIELDS = {Task.DETECT: "xyxy", Task.SEGMENT: "xyxy", Task.OBB: "xywhr"}


def served(task: Task) -> ServedModel:
    return ServedModel(task=task, labels=LABELS, imgsz=(64, 64), max_slices=64)


def found_in(tile: Tile, task: Task, count: int, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    """Return objects of one tile, as postprocess does: many overlap."""
    height, width = tile.shape
    centres = rng.uniform(0, 1, (count, 2)) * [width, height]
    sizes = rng.uniform(8, 70, (count, 2))
    corners = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
    boxes = np.clip(corners, 0, [width, height, width, height]).astype(np.float32)
    tensors: dict[str, npt.NDArray[Any]] = {
        signature.BOXES.name: boxes,
        signature.SCORES.name: np.sort(rng.uniform(0.2, 1, count))[::-1].astype(np.float32),
        signature.CLASSES.name: rng.integers(0, len(LABELS), count).astype(np.int32),
    }
    if task is Task.OBB:
        angles = rng.uniform(-np.pi / 4, 3 * np.pi / 4, (count, 1))
        tensors[signature.BOXES.name] = np.concatenate([centres, sizes, angles], axis=1).astype(np.float32)
    if task is Task.SEGMENT:
        tensors[signature.MASKS.name] = np.array([mask_text(box, tile.shape, rng) for box in boxes], object)
    return tensors


def mask_text(box: npt.NDArray[np.float32], shape: tuple[int, int], rng: np.random.Generator) -> bytes:
    left, top, right, bottom = box.astype(int)
    mask = np.zeros(shape, bool)
    mask[top : bottom + 1, left : right + 1] = (
        rng.random((bottom + 1 - top, right + 1 - left))[: shape[0] - top, : shape[1] - left] < 0.9
    )
    mask[min(top, shape[0] - 1), min(left, shape[1] - 1)] = True
    return rle.encode([counts_of(mask)])[0]


def counts_of(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    flat = np.concatenate([[False], mask.T.ravel()])
    return np.diff(np.flatnonzero(np.diff(flat)), prepend=0, append=mask.size).astype(np.int64)


def result_of(task: Task, tensors: dict[str, npt.NDArray[Any]], shape: tuple[int, int]) -> Any:
    fields = {FIELDS[task]: tensors[signature.BOXES.name]}
    if task is Task.SEGMENT:
        fields["rle"] = tensors[signature.MASKS.name]
    return KINDS[task](
        confidence=tensors[signature.SCORES.name],
        class_id=tensors[signature.CLASSES.name],
        labels=LABELS,
        orig_shape=shape,
        **fields,
    )


def moved(found: sv.Detections, tile: Tile) -> sv.Detections:
    found.xyxy = found.xyxy + np.array([tile.left, tile.top] * 2, np.float32)
    if found.mask is not None:
        masks = np.zeros((len(found), *SHAPE), bool)
        masks[:, tile.top : tile.bottom, tile.left : tile.right] = found.mask
        found.mask = masks
    if ORIENTED_BOX_COORDINATES in found.data:
        corners = np.asarray(found.data[ORIENTED_BOX_COORDINATES])
        found.data[ORIENTED_BOX_COORDINATES] = corners + np.array([tile.left, tile.top], np.float32)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("kind", ["nmm", "nms"])
@pytest.mark.parametrize("task", KINDS)
def test_objects_of_tiles_are_merged_as_by_supervision(task: Task, kind: str, agnostic: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    slicing = Slicing(size=160, overlap=0.25, merge=kind)
    tiles = slicing.tiles(SHAPE)
    found = [found_in(tile, task, int(rng.integers(0, 14)), rng) for tile in tiles]
    each = [
        moved(result_of(task, one, tile.shape).to_supervision(), tile) for one, tile in zip(found, tiles, strict=True)
    ]
    everything = sv.Detections.merge([one for one in each if len(one)])
    filtered = everything.with_nmm if kind == "nmm" else everything.with_nms
    expected = best_first(filtered(0.5, class_agnostic=agnostic, overlap_metric=sv.OverlapMetric.IOS))

    parameters = RequestParameters(slicing=slicing, agnostic=agnostic, max_det=1000)
    packs = [packed(served(task), found[:1], tiles, 0), packed(served(task), found[1:], tiles, 1)]
    tensors = merge(served(task), SHAPE, parameters, packs)

    assert len(expected) < len(everything)
    result = best_first(result_of(task, tensors, SHAPE).to_supervision())
    apart = differences(result, expected)
    assert apart.pop("box") < 1e-3
    assert apart.pop("score") < 1e-6
    assert apart.pop("corner", 0) < 2e-3
    assert not any(apart.values())


def test_the_best_objects_are_kept() -> None:
    rng = np.random.default_rng(0)
    slicing = Slicing(size=160, merge="nms")
    tiles = slicing.tiles(SHAPE)
    found = [found_in(tile, Task.DETECT, 10, rng) for tile in tiles]
    packs = [packed(served(Task.DETECT), found, tiles, 0)]

    every = merge(served(Task.DETECT), SHAPE, RequestParameters(slicing=slicing, max_det=1000), packs)
    best = merge(served(Task.DETECT), SHAPE, RequestParameters(slicing=slicing, max_det=3), packs)

    for name in (signature.SCORES.name, signature.BOXES.name):
        np.testing.assert_array_equal(best[name], every[name][:3])
    assert best[signature.NUM_DETECTIONS.name] == [3]


@pytest.mark.parametrize("task", KINDS)
def test_an_image_without_objects_has_none(task: Task) -> None:
    tiles = Slicing(size=160).tiles(SHAPE)
    none = found_in(tiles[0], task, 0, np.random.default_rng(0))
    packs = [packed(served(task), [none], tiles, 0), packed(served(task), [], tiles, 1)]

    tensors = merge(served(task), SHAPE, RequestParameters(slicing=Slicing(size=160)), packs)

    for spec in signature.detections(served(task)):
        assert spec.accepts(tensors[spec.name]), spec.name
    assert tensors[signature.NUM_DETECTIONS.name] == [0]


@pytest.mark.parametrize("seed", range(30))
def test_a_window_has_the_runs_of_the_whole_mask(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = np.zeros(tuple(rng.integers(1, 12, 2)), bool)
    mask[rng.random(mask.shape) < rng.uniform(0, 1)] = True
    mask.flat[rng.integers(mask.size)] = True
    height, width = mask.shape

    counts = MaskWindow.of(rle.encode([counts_of(mask)])[0], Tile(0, 0, width, height)).counts((height, width))

    assert counts.sum() == mask.size
    np.testing.assert_array_equal(rle.decode(rle.encode([counts])[0], mask.shape), mask)
    assert (counts[1:] > 0).all()  # no run is split in two


def test_a_column_that_is_full_goes_on_in_the_next() -> None:
    mask = MaskWindow(0, 1, np.ones((4, 2), bool))

    assert mask.counts((4, 4)).tolist() == [4, 8, 4]


@pytest.mark.parametrize(
    ("one", "other", "area"),
    [
        pytest.param([5, 5, 4, 4, 0], [7, 5, 4, 4, 0], 8, id="shifted"),
        pytest.param([5, 5, 4, 4, 0], [5, 5, 2, 2, 0.3], 4, id="inside"),
        pytest.param([5, 5, 4, 4, 0], [50, 5, 4, 4, 0], 0, id="apart"),
        pytest.param([5, 5, 2, 2, 0], [5, 5, 2, 2, np.pi / 4], 8 * (np.sqrt(2) - 1), id="octagon"),
        pytest.param([5, 5, 4, 4, 0], [5, 5, 0, 4, 0], 0, id="flat"),
    ],
)
def test_the_intersection_of_rotated_boxes_is_exact(one: list[float], other: list[float], area: float) -> None:
    first, second = corners_of(np.array([one, other], np.float32))

    assert intersection_area(first, second) == pytest.approx(area, abs=1e-5)
    assert intersection_area(second[::-1], first) == pytest.approx(area, abs=1e-5)
