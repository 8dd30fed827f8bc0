# SPDX-License-Identifier: Apache-2.0
"""Compute masks of objects at the image's own resolution, directly as run lengths."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from .mask_axis import TAPS, MaskAxis, MaskStrips, mask_axes

_STRIP = 128
"""Image columns computed at once. Narrower strips skip more rows; wider strips need fewer calls."""

_UNDECIDED = 1

_Floats = npt.NDArray[np.float32]
_Bools = npt.NDArray[np.bool_]
_Indices = npt.NDArray[np.intp]


def mask_runs(
    prototypes: _Floats, coefficients: _Floats, boxes: _Floats, orig_shape: tuple[int, int]
) -> list[_Indices | None]:
    """Return each object's mask as run lengths in column order, background first; None for an empty mask.

    A pixel belongs to the mask if it lies in the object's box and its weighted sum of prototypes is above zero.

    Args:
        prototypes: ``(k, height, width)``, the network's second output.
        coefficients: ``(n, k)`` weights of the prototypes.
        boxes: ``(n, 4)`` x1, y1, x2, y2 in pixels of the image, clipped to it.
        orig_shape: Height and width of the image.
    """
    grid = prototypes.shape[1], prototypes.shape[2]
    rows, columns = mask_axes(orig_shape, grid, _STRIP)
    runs: list[_Indices | None] = []
    for mix, box in zip(coefficients, np.ceil(boxes).astype(int).tolist(), strict=True):
        x1, y1, x2, y2 = box  # pixel i lies in the box if x1 <= i < x2; rounding up does not change that
        if x1 >= x2 or y1 >= y2:
            runs.append(None)
            continue
        part = prototypes[:, rows.span(y1, y2), columns.axis.span(x1, x2)]
        with np.errstate(all="ignore"):  # values that are not finite affect only their own object's mask
            logits = (mix @ part.reshape(len(part), -1)).reshape(part.shape[1:])
            changes = [column * orig_shape[0] + row for column, row in _changes(logits, rows, columns, box)]
        runs.append(_run_lengths(np.concatenate(changes), orig_shape[0] * orig_shape[1]))
    return runs


def _changes(
    logits: _Floats, rows: MaskAxis, columns: MaskStrips, box: tuple[int, int, int, int]
) -> Iterator[tuple[_Indices, _Indices]]:
    """Yield columns and rows of the pixels where a run of the mask begins or has just ended, strip by strip.

    Args:
        logits: The object's weighted sum of the prototypes that its box depends on.
        rows: The weights along the image's rows.
        columns: The weights along the image's columns.
        box: x1, y1, x2, y2 in whole pixels.
    """
    x1, y1, x2, y2 = box
    strips = columns.split(x1, x2)
    taps = columns.axis.span(x1, x2)
    touched = columns.touched[taps, x1 // columns.size :][:, : len(strips)]
    stretched = rows.mix(logits, y1, y2)
    for (start, stop), live in zip(strips, _live_rows(logits > 0, touched, rows.first[y1:y2]), strict=True):
        kept = np.flatnonzero(live)
        span = columns.axis.span(start, stop)
        few = stretched[:, span.start - taps.start : span.stop - taps.start].take(kept[:-1], axis=0)
        # The last row stays background and ends each column. One background pixel is added before the first column.
        inside = np.zeros((stop - start) * len(kept) + 1, bool)
        pixels = inside[1:].reshape(stop - start, len(kept))
        np.greater(columns.matrix(start, stop) @ few.T, 0, out=pixels[:, :-1])
        column, row = np.divmod(np.flatnonzero(inside[1:] != inside[:-1]), len(kept))
        yield start + column, y1 + kept[row]


def _live_rows(positive: _Bools, touched: _Floats, first: _Indices) -> _Bools:
    """Return for each strip which rows of pixels may differ from a neighbouring row.

    If all prototypes that a row of a strip depends on have the same sign, the row has that sign, too. So most rows
    equal their neighbours and are not computed. The outermost rows and the row after the last are always included.
    """
    inside = touched.T @ positive.T.astype(np.float32)
    inside = inside[:, :-2] + inside[:, 1:-1] + inside[:, 2:]
    state = (inside > 0).astype(np.int8) + (inside == TAPS * touched.sum(axis=0)[:, None])
    state = state.take(first - first[0], axis=1)
    changing = (state[:, 1:] != state[:, :-1]) | (state[:, 1:] == _UNDECIDED)
    live = np.ones((len(state), state.shape[1] + 1), bool)
    live[:, 1:-2] = changing[:, 1:] | changing[:, :-1]
    return live


def _run_lengths(changes: _Indices, pixels: int) -> _Indices | None:
    if not len(changes):
        return None
    # In a box as high as the image, a run may end where the next column's run begins; the two are one run.
    joined = np.flatnonzero(changes[1:] == changes[:-1])
    if len(joined):
        changes = np.delete(changes, np.concatenate([joined, joined + 1]))
    lengths = np.diff(np.concatenate([[0], changes, [pixels]]))
    return lengths if lengths[-1] else lengths[:-1]
