# SPDX-License-Identifier: Apache-2.0
"""Turn an image into a classifier's input: resize the short side and crop the centre.

Classifiers were trained on images resized with Pillow's bilinear filter, and a difference of one grey level changes
their probabilities by 0.001. So this resize equals that of Pillow 13 and later to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from .letterbox import Placement

_WEIGHT_BITS = 22
"""Pillow's integer weights for 8-bit values sum to 2 ** 22."""

_BLOCK = 32
"""Output rows per matrix product; with more rows the band matrix of weights would be mostly zeros."""

_Bytes = npt.NDArray[np.uint8]
_Weights = tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class CenterCrop(Placement):
    """The position of a classifier's input inside the resized image."""

    @classmethod
    def fit(cls, orig_shape: tuple[int, int], imgsz: tuple[int, int]) -> CenterCrop:
        """Resize the short side to that of a square input; stretch to an input that is not square."""
        height, width = (int(side) for side in orig_shape)
        input_height, input_width = (int(side) for side in imgsz)
        new_height, new_width = input_height, input_width
        if input_height == input_width:
            # The length of the long side is truncated, not rounded, as torchvision does.
            if width <= height:
                new_height = int(input_height * height / width)
            else:
                new_width = int(input_width * width / height)
        return cls(
            orig_shape=(height, width),
            imgsz=(input_height, input_width),
            new_shape=(new_height, new_width),
            top=round((new_height - input_height) / 2),
            left=round((new_width - input_width) / 2),
        )

    @property
    def vertical_first(self) -> bool:
        """Return whether Pillow resizes the height first; the order matters because the result of each is rounded."""
        (height, width), (new_height, new_width) = self.orig_shape, self.new_shape
        return height > new_height and height - new_height > 2 * (width - new_width)

    def apply(self, image: _Bytes) -> _Bytes:
        """Return the ``(*imgsz, channels)`` input for ``(*orig_shape, channels)`` uint8 pixels, equal to Pillow's.

        Only pixels that the input depends on are computed, so an image of 1 x 5000 takes no longer than others.
        """
        rows = _Axis(0, self.orig_shape[0], self.new_shape[0], self.top, self.imgsz[0])
        columns = _Axis(1, self.orig_shape[1], self.new_shape[1], self.left, self.imgsz[1])
        first, last = (rows, columns) if self.vertical_first else (columns, rows)
        image = last.needed(image)
        return last.resize(first.resize(first.needed(image)))


@dataclass(frozen=True, slots=True)
class _Axis:
    """The resize along one axis, for output pixels ``start`` to ``start + length`` of ``size_out``."""

    axis: int
    size_in: int
    size_out: int
    start: int
    length: int

    def needed(self, image: _Bytes) -> _Bytes:
        """Return the part of the image that the output depends on."""
        low, high = self._span()
        return image[low:high] if self.axis == 0 else image[:, low:high]

    def resize(self, part: _Bytes) -> _Bytes:
        """Resize the part that `needed` returned."""
        if self.size_in == self.size_out:
            return part
        lines = np.moveaxis(part, self.axis, 0)
        flat = np.ascontiguousarray(lines).reshape(len(lines), -1)
        resized = self._weigh(flat).reshape(self.length, *lines.shape[1:])
        return np.moveaxis(resized, 0, self.axis)

    def _span(self) -> tuple[int, int]:
        if self.size_in == self.size_out:
            return self.start, self.start + self.length
        first, weights = self._weights()
        return int(first[0]), min(self.size_in, int(first[-1]) + weights.shape[1])

    def _weights(self) -> _Weights:
        return _weights(self.size_in, self.size_out, self.start, self.length)

    def _weigh(self, lines: _Bytes) -> _Bytes:
        """Return weighted sums of ``(n, m)`` lines, ``(length, m)``; float64 holds every such sum exactly."""
        first, weights = self._weights()
        first = first - self._span()[0]
        taps = weights.shape[1]
        out = np.empty((self.length, lines.shape[1]), np.uint8)
        for start in range(0, self.length, _BLOCK):
            stop = min(self.length, start + _BLOCK)
            low, high = int(first[start]), int(first[stop - 1]) + taps
            band = np.zeros((stop - start, high - low))
            np.put_along_axis(band, (first[start:stop] - low)[:, None] + np.arange(taps), weights[start:stop], axis=1)
            source = lines[low:high].astype(np.float64)
            sums = band[:, : len(source)] @ source  # the weights of lines beyond the end are zero
            sums += 1 << (_WEIGHT_BITS - 1)
            sums *= 0.5**_WEIGHT_BITS
            out[start:stop] = np.clip(np.floor(sums, out=sums), 0, 255, out=sums)
        return out


@lru_cache(maxsize=64)
def _weights(size_in: int, size_out: int, start: int, length: int) -> _Weights:
    """Return, for each output pixel, its first input pixel and the weights from there on, ``(length, taps)``."""
    scale = size_in / size_out
    support = max(scale, 1.0)  # half the width of the triangle filter, in input pixels
    centre = (np.arange(start, start + length) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.intp), 0)
    stop = np.minimum((centre + support + 0.5).astype(np.intp), size_in)
    taps = np.arange(int(np.ceil(support)) * 2 + 1)
    distance = np.abs((taps + first[:, None] - centre[:, None] + 0.5) * (1 / support))
    weights = np.where((distance < 1) & (taps < (stop - first)[:, None]), 1 - distance, 0.0)
    total = np.zeros(length)
    for column in weights.T:  # the order of the additions decides the last bit of the sum
        total += column
    weights /= total[:, None]
    return first, np.floor(weights * (1 << _WEIGHT_BITS) + 0.5)
