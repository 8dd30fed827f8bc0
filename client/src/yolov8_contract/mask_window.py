# SPDX-License-Identifier: Apache-2.0
"""Compare and unite masks of large images, each as the window of the image that has its pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from . import rle
from .slices import Tile


@dataclass(frozen=True, slots=True)
class MaskWindow:
    """The pixels of an object: a window of the image.

    Attributes:
        top: The first row.
        left: The first column.
        bits: ``(rows, columns)`` whether a pixel is part of the object.
    """

    top: int
    left: int
    bits: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, text: bytes, tile: Tile) -> MaskWindow:
        """Return the mask that a run-length string of a tile describes, without the empty rows and columns around."""
        bits = rle.decode(text, tile.shape)
        rows, columns = np.flatnonzero(bits.any(axis=1)), np.flatnonzero(bits.any(axis=0))
        window = bits[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return cls(tile.top + int(rows[0]), tile.left + int(columns[0]), window)

    @property
    def area(self) -> int:
        """The number of pixels."""
        return int(np.count_nonzero(self.bits))

    def intersection(self, other: MaskWindow) -> int:
        """Return the number of pixels that both have."""
        return int(np.count_nonzero(self._within(other) & other._within(self)))

    def union(self, other: MaskWindow) -> MaskWindow:
        """Return the pixels that one of both has."""
        top, left = min(self.top, other.top), min(self.left, other.left)
        bottom = max(one.top + one.bits.shape[0] for one in (self, other))
        right = max(one.left + one.bits.shape[1] for one in (self, other))
        bits = np.zeros((bottom - top, right - left), bool)
        for one in (self, other):
            rows, columns = one.bits.shape
            bits[one.top - top : one.top - top + rows, one.left - left : one.left - left + columns] |= one.bits
        return MaskWindow(top, left, bits)

    def counts(self, shape: tuple[int, int]) -> npt.NDArray[np.int64]:
        """Return the lengths of the runs of the mask in an image of ``shape``, in column order, background first."""
        height, width = shape
        padded = np.zeros((self.bits.shape[1], self.bits.shape[0] + 2), np.int8)
        padded[:, 1:-1] = self.bits.T
        columns, rows = np.nonzero(np.diff(padded, axis=1))  # where runs begin and, in turn, end
        places = (self.left + columns) * height + self.top + rows
        joined = np.flatnonzero(places[1:-1:2] == places[2::2]) * 2 + 1  # a run that goes on in the next column
        places = np.delete(places, np.concatenate([joined, joined + 1]))
        counts = np.diff(places, prepend=0, append=height * width)
        return (counts if counts[-1] or len(counts) == 1 else counts[:-1]).astype(np.int64)

    def _within(self, other: MaskWindow) -> npt.NDArray[np.bool_]:
        """Return the part of this window that lies in the other's."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom = min(one.top + one.bits.shape[0] for one in (self, other))
        right = min(one.left + one.bits.shape[1] for one in (self, other))
        return self.bits[
            top - self.top : max(bottom - self.top, top - self.top),
            left - self.left : max(right - self.left, left - self.left),
        ]
