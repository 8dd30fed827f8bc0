# SPDX-License-Identifier: Apache-2.0
"""Compute the overlap of two rotated boxes as Gaussians (probIoU, https://arxiv.org/abs/2106.06072).

A box becomes the Gaussian with the centre and the covariance ``[[a, c], [c, b]]`` of a uniform distribution over the
box. The overlap is one minus the Hellinger distance of the two Gaussians. All operations are float32 and in
Ultralytics' order, so identical boxes overlap by 0.9995, not 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_EPS = np.float32(1e-7)
_MAX_DISTANCE = np.float32(100)
_UNIFORM = 12
"""The variance of a uniform distribution is its squared length divided by 12."""

_FLAT_DISTANCE = 18.0
"""An upper limit of useful distances: from a Bhattacharyya distance of 17.4 on, the overlap is zero in float32."""
_DISTANCE_MARGIN = 0.01
"""The margin for float32 rounding in the distances of regular boxes; see `Gaussians.reach`."""

_MIN_AREA = 1.0
"""The smallest area of a regular box, in square pixels; for smaller ones the epsilons of `Gaussians.probiou` matter."""
_MAX_RATIO = 100.0
"""The largest side ratio of a regular box; the rounding error of determinants grows with the square of the ratio."""

_Floats = npt.NDArray[np.float32]
_Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Gaussians:
    """Rotated boxes as Gaussians; parallel ``(n,)`` arrays.

    Attributes:
        x: The centres' x.
        y: The centres' y.
        a: The variances along x.
        b: The variances along y.
        c: The covariances of x and y.
    """

    x: _Floats
    y: _Floats
    a: _Floats
    b: _Floats
    c: _Floats

    @classmethod
    def of(cls, xywhr: _Floats) -> Gaussians:
        """Convert ``(n, 5)`` boxes: centre x, centre y, width, height, radians."""
        x, y, width, height, angle = np.ascontiguousarray(xywhr.T)
        across, along = width * width / _UNIFORM, height * height / _UNIFORM
        cos, sin = np.cos(angle), np.sin(angle)
        cos2, sin2 = cos * cos, sin * sin
        return cls(x, y, across * cos2 + along * sin2, across * sin2 + along * cos2, (across - along) * cos * sin)

    def probiou(self, first: _Indices, second: _Indices) -> _Floats:
        """Return the overlap of each pair of boxes ``first[i]``, ``second[i]``."""
        a1, b1, c1, a2, b2, c2 = (v[pair] for pair in (first, second) for v in (self.a, self.b, self.c))
        dx, dy = self.x[first] - self.x[second], self.y[first] - self.y[second]
        a, b, c = a1 + a2, b1 + b2, c1 + c2
        with np.errstate(all="ignore"):  # long thin boxes can have a negative determinant; NaN exceeds no threshold
            determinant: _Floats = a * b - c * c
            spread = (a * (dy * dy) + b * (dx * dx)) / (determinant + _EPS) * np.float32(0.25)
            spread += c * -dx * dy / (determinant + _EPS) * np.float32(0.5)
            product = np.maximum(a1 * b1 - c1 * c1, 0) * np.maximum(a2 * b2 - c2 * c2, 0)
            shape = np.log(determinant / (4 * np.sqrt(product) + _EPS) + _EPS) * np.float32(0.5)
            distance = np.clip(spread + shape, _EPS, _MAX_DISTANCE)
            return np.asarray(1 - np.sqrt(1 - np.exp(-distance) + _EPS))

    def reach(self, threshold: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return each box's reach along x and y: two boxes overlap by more than ``threshold`` only if reaches meet.

        With the distance ``D = -log(1 - (1 - threshold)²)``, an overlap above the threshold needs
        ``dx² < 4 D (a₁ + a₂)`` (Cauchy-Schwarz), hence ``|dx| < 2 √(D a₁) + 2 √(D a₂)``; the same holds along y. The
        bound is one of exact arithmetic. For very thin or very small boxes float32 may deviate from it, so their reach
        is infinite; all others are called regular.
        """
        limit = 1 - (1 - float(np.float32(threshold))) ** 2
        distance = min(-math.log(max(limit - 1e-6, 1e-12)), _FLAT_DISTANCE) * (1 + _DISTANCE_MARGIN)
        distance += _DISTANCE_MARGIN
        a, b, c = (v.astype(np.float64) for v in (self.a, self.b, self.c))
        mean, spread = (a + b) / 2, np.hypot((a - b) / 2, c)
        long, short = (np.sqrt(np.maximum(v, 0) * _UNIFORM) for v in (mean + spread, mean - spread))
        regular = (long * short >= _MIN_AREA) & (long <= _MAX_RATIO * short)
        return tuple(np.where(regular, 2 * np.sqrt(distance * v), np.inf) for v in (a, b))  # type: ignore[return-value]  # two
