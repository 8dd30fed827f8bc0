# SPDX-License-Identifier: Apache-2.0
"""Compute the weights that turn mask prototypes into the image's own pixels, one axis at a time.

Ultralytics (``retina_masks=True``) enlarges the prototypes by an integer factor, crops the letterbox's padding and
resizes the rest to the image, all bilinearly. Each step is separable, and the two resizes of one axis compose: every
pixel is a weighted sum of at most three neighbouring prototypes.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .letterbox import Letterbox

TAPS = 3

_STRIDE = 4
"""The pixels of the network's input per prototype, along both axes."""

_Floats = npt.NDArray[np.float32]
_Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class MaskAxis:
    """The weights of the prototypes for each pixel along one axis of the image.

    Attributes:
        first: ``(pixels,)`` the index of the first of `TAPS` neighbouring prototypes, ascending.
        weights: ``(pixels, TAPS)`` weights of 0 or more; each row sums to one.
    """

    first: _Indices
    weights: _Floats

    def span(self, start: int, stop: int) -> slice:
        """Return the range of prototypes that pixels ``start`` to ``stop`` depend on."""
        return slice(int(self.first[start]), int(self.first[stop - 1]) + TAPS)

    def mix(self, prototypes: _Floats, start: int, stop: int) -> _Floats:
        """Return pixels ``start`` to ``stop`` as weighted sums of ``prototypes``, the rows of the pixels' `span`."""
        first = self.first[start:stop] - self.first[start]
        weights = self.weights[start:stop]
        mixed: _Floats = prototypes.take(first, axis=0) * weights[:, :1]
        for tap in range(1, TAPS):
            mixed += prototypes.take(first + tap, axis=0) * weights[:, tap : tap + 1]
        return mixed


@dataclass(frozen=True, slots=True, eq=False)
class MaskStrips:
    """One axis of the image cut into strips of pixels, each with its weights as a dense matrix.

    Attributes:
        axis: The weights by pixel.
        size: The pixels of a strip; the last strip may be shorter.
        dense: ``(pixels, prototypes of the longest strip)`` weights; column 0 is the strip's first prototype.
        touched: ``(prototypes, strips)``, 1 where the strip depends on the prototype, else 0.
    """

    axis: MaskAxis
    size: int
    dense: _Floats
    touched: _Floats

    @classmethod
    def cut(cls, axis: MaskAxis, size: int, prototypes: int) -> MaskStrips:
        """Cut an axis with that number of ``prototypes`` into strips of ``size`` pixels."""
        starts = axis.first[::size]
        offset = axis.first - np.repeat(starts, size)[: len(axis.first)]
        dense = np.zeros((len(offset), int(offset.max()) + TAPS), np.float32)
        every = np.arange(len(offset))
        for tap in range(TAPS):
            dense[every, offset + tap] = axis.weights[:, tap]
        stops = np.append(axis.first[size - 1 : -1 : size], axis.first[-1])[: len(starts)] + TAPS
        index = np.arange(prototypes)[:, None]
        return cls(axis, size, dense, ((index >= starts) & (index < stops)).astype(np.float32))

    def split(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Split pixels ``start`` to ``stop`` into ranges that lie within one strip each."""
        cuts = [start, *range((start // self.size + 1) * self.size, stop, self.size), stop]
        return list(itertools.pairwise(cuts))

    def matrix(self, start: int, stop: int) -> _Floats:
        """Return the weight matrix of a range within one strip; its columns are the prototypes of the range's span."""
        span = self.axis.span(start, stop)
        base = int(self.axis.first[start // self.size * self.size])
        return self.dense[start:stop, span.start - base : span.stop - base]


@functools.lru_cache(maxsize=32)
def mask_axes(orig_shape: tuple[int, int], prototypes: tuple[int, int], strip: int) -> tuple[MaskAxis, MaskStrips]:
    """Return the vertical and the horizontal axis for an image and a grid of prototypes (height, width).

    The horizontal axis is cut into strips of ``strip`` pixels.
    """
    height, width = prototypes
    place = Letterbox.fit(orig_shape, (_STRIDE * height, _STRIDE * width))
    padding = (place.imgsz[0] - place.new_shape[0]) | (place.imgsz[1] - place.new_shape[1])
    # The smallest enlargement at which both paddings and their halves are whole numbers of pixels.
    factor = _STRIDE // math.gcd(_STRIDE, padding | padding // 2)
    place = Letterbox.fit(orig_shape, (factor * height, factor * width))
    columns = _axis(width, factor, place.left, place.new_shape[1], orig_shape[1])
    return (
        _axis(height, factor, place.top, place.new_shape[0], orig_shape[0]),
        MaskStrips.cut(columns, strip, width),
    )


def _axis(prototypes: int, factor: int, padding: int, content: int, pixels: int) -> MaskAxis:
    """Compose the enlargement of ``prototypes`` with the resize of its ``content`` to ``pixels``."""
    inner_index, inner_next, inner_weight = _bilinear(prototypes, factor * prototypes)
    outer_index, outer_next, outer_weight = _bilinear(content, pixels)
    before, after = padding + outer_index, padding + outer_next
    first = np.minimum(inner_index[before], prototypes - TAPS)
    weights = np.zeros((pixels, TAPS))
    every = np.arange(pixels)
    for enlarged, weight in ((before, 1 - outer_weight), (after, outer_weight)):
        weights[every, inner_index[enlarged] - first] += weight * (1 - inner_weight[enlarged])
        weights[every, inner_next[enlarged] - first] += weight * inner_weight[enlarged]
    return MaskAxis(first, weights.astype(np.float32))


def _bilinear(source: int, target: int) -> tuple[_Indices, _Indices, npt.NDArray[np.float64]]:
    """Return the two source pixels of each target pixel, and the weight of the second.

    Positions are float32, as in ``torch.nn.functional.interpolate``. Exact positions would change some pixels of a
    mask's edge near the far end of a wide image.
    """
    scale = np.float32(source) / np.float32(target)
    position = scale * (np.arange(target, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)
    position = np.maximum(position, 0)
    index = np.minimum(position.astype(np.intp), source - 1)
    weight = np.clip(position - index.astype(np.float32), 0, 1)
    return index, np.minimum(index + 1, source - 1), weight.astype(np.float64)
