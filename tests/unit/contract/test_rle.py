# SPDX-License-Identifier: Apache-2.0
"""COCO's strings against the COCO evaluator's own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from faster_coco_eval.core import mask as coco
from hypothesis import given
from hypothesis import strategies as st

from yolov8_contract import rle
from yolov8_contract.errors import ContractError

Bools = npt.NDArray[np.bool_]


def blobs(height: int, width: int, seed: int, grain: float) -> Bools:
    """Return a mask of waves; the finer the grain the more runs."""
    a, b, c, d = np.random.default_rng(seed).uniform(0.2, 1, 4) / grain
    y, x = np.mgrid[:height, :width]
    return np.asarray(np.sin(a * x + b * y) + np.sin(c * x - d * y) > 0.3)


def counted(mask: Bools) -> npt.NDArray[np.int64]:
    """Count runs one pixel at a time: the slow way."""
    counts, current = [0], False
    for pixel in mask.ravel(order="F").tolist():
        if pixel != current:
            counts.append(0)
            current = pixel
        counts[-1] += 1
    return np.array(counts, np.int64)


def coco_string(mask: Bools) -> bytes:
    text = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    return text if isinstance(text, bytes) else text.encode()


MASKS = [
    pytest.param(np.zeros((3, 4), bool), id="empty"),
    pytest.param(np.ones((3, 4), bool), id="full"),
    pytest.param(np.ones((1, 1), bool), id="one-pixel"),
    pytest.param(np.eye(9, dtype=bool), id="diagonal"),
    pytest.param(np.arange(5000)[None] % 2 == 0, id="one-row"),
    pytest.param(np.arange(5000)[:, None] >= 4999, id="last-pixel"),
    pytest.param(np.random.default_rng(0).random((37, 53)) < 0.5, id="noise"),
    pytest.param(blobs(333, 500, 1, 30), id="blobs"),
    pytest.param(blobs(1571, 377, 2, 60), id="large-blobs"),
    pytest.param(np.indices((2000, 40)).sum(axis=0) % 1999 == 0, id="counts-that-jump"),
]


@pytest.mark.parametrize("mask", MASKS)
def test_strings_are_those_of_coco(mask: Bools) -> None:
    assert rle.encode([counted(mask)]) == [coco_string(mask)]


@pytest.mark.parametrize("mask", MASKS)
def test_strings_of_coco_are_read(mask: Bools) -> None:
    text = coco_string(mask)

    np.testing.assert_array_equal(rle.decode(text, mask.shape), mask)
    np.testing.assert_array_equal(rle.decode_counts(text), counted(mask))


def test_many_masks_at_once_get_the_strings_that_they_get_alone() -> None:
    masks = [counted(blobs(60, 80, seed, 10)) for seed in range(20)]

    assert rle.encode(masks) == [rle.encode([mask])[0] for mask in masks]


def test_no_masks_are_no_strings() -> None:
    assert rle.encode([]) == []


@pytest.mark.parametrize("size", [2**4, 2**9, 2**14, 2**31, 2**34 - 1], ids=str)
def test_counts_of_any_size_survive(size: int) -> None:
    counts = np.array([size, 1, size - 1, size, 0, 1, size], np.int64)

    (text,) = rle.encode([counts])

    assert rle.decode_counts(text).tolist() == counts.tolist()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(b"", "damaged", id="empty"),
        pytest.param(b"04O", "damaged", id="cut-off"),
        pytest.param(b"0 4", "damaged", id="space"),
        pytest.param(b"0\xff4", "damaged", id="not-ascii"),
        pytest.param(b"0" + 7 * b"P" + b"0", "more than 7 characters", id="endless-count"),
        pytest.param(b"01O", "negative", id="negative-count"),
        pytest.param(b"0:", "expected 3 x 4 = 12 pixels, got 10", id="other-size"),
    ],
)
def test_a_damaged_string_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(ContractError, match=f"run-length string.*{reason}"):
        rle.decode(text, (3, 4))


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(200, 250), (480, 640), (1080, 1920)])
def test_masks_shrink_at_least_twentyfold(height: int, width: int) -> None:
    text = rle.encode([counted(blobs(height, width, 0, min(height, width) / 12))])[0]

    assert len(text) * 20 < height * width


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=12), min_size=1, max_size=8), st.data())
def test_strings_are_checked_together_as_each_is_decoded(runs: list[list[int]], data: st.DataObject) -> None:
    shape = (30, 20)
    texts = rle.encode([np.array([*one, 600 - sum(one)]) if sum(one) <= 600 else np.array([600]) for one in runs])
    if data.draw(st.booleans()):
        index = data.draw(st.integers(0, len(texts) - 1))
        texts[index] = data.draw(st.binary(max_size=12))

    def refused(check: Callable[[], object]) -> bool:
        try:
            check()
        except ContractError:
            return True
        return False

    assert refused(lambda: rle.check(texts, shape)) == refused(lambda: [rle.decode(text, shape) for text in texts])
