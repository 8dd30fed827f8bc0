# SPDX-License-Identifier: Apache-2.0
"""Cut a large image into overlapping tiles, so that small objects are large enough for the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

SLICE = "slice"
SLICE_OVERLAP = "slice_overlap"
SLICE_MERGE = "slice_merge"
NAMES = (SLICE, SLICE_OVERLAP, SLICE_MERGE)
"""The request parameters."""

MERGES = ("nmm", "nms")
"""How objects of overlapping tiles become one: the union of their boxes and masks, or the best of them."""

MIN_SIZE = 32
"""The least side of a tile in pixels, the stride of the network."""
MAX_SIZE = 1 << 16
MAX_OVERLAP = 0.9

IN_FLIGHT = 4
"""The tiles that one instance of preprocess has in the network at a time, so that other requests have their turn."""


class Tile(NamedTuple):
    """A part of an image: the pixels from ``left`` and ``top`` to before ``right`` and ``bottom``."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.bottom - self.top, self.right - self.left


@dataclass(frozen=True, slots=True, kw_only=True)
class Slicing:
    """How a request wants its image to be cut.

    Attributes:
        size: The side of a tile in pixels of the image.
        overlap: The share of a tile by which neighbours overlap, from 0 to 0.9.
        merge: One of `MERGES`.
    """

    size: int
    overlap: float = 0.2
    merge: str = "nmm"

    def tiles(self, orig_shape: tuple[int, int]) -> list[Tile]:
        """Return the tiles of an image of height and width ``orig_shape``, row by row; they cover it.

        The last tile of a row or a column ends at the image's edge and overlaps its neighbour by more, as in
        supervision's ``InferenceSlicer``. Only without any overlap it is smaller instead.
        """
        height, width = orig_shape
        tops, lefts = self._starts(height), self._starts(width)
        return [
            Tile(left, top, min(left + self.size, width), min(top + self.size, height))
            for top in tops
            for left in lefts
        ]

    def count(self, orig_shape: tuple[int, int]) -> int:
        """Return the number of tiles, without making them."""
        height, width = orig_shape
        return len(self._starts(height)) * len(self._starts(width))

    def _starts(self, side: int) -> range | list[int]:
        if side <= self.size:
            return [0]
        stride = self.size - min(round(self.size * self.overlap), self.size - 1)
        if stride == self.size:
            return range(0, side, stride)
        last = side - self.size
        return [*range(0, last, stride), last]
