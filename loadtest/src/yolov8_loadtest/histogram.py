# SPDX-License-Identifier: Apache-2.0
"""Latencies at three significant digits, whatever their size: a high dynamic range histogram."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

MS = 1000.0
"""Microseconds in a millisecond."""

_HALF_BITS = 10
_HALF = 1 << _HALF_BITS
"""Buckets per power of two: a value is known within 1 / 1024 of itself, and to the microsecond below 2 ms."""


class Bin(NamedTuple):
    """Values that are not told apart: their middle, how many there are, and the share of all up to here."""

    ms: float
    values: int
    cumulative: float


class LatencyHistogram:
    """Counts of durations in microseconds.

    Only buckets in use are kept, in a plain dictionary: so one a second and stream costs little, and travels well
    between processes.
    Merging loses nothing: percentiles of a merged histogram are those of all values.
    """

    __slots__ = ("_buckets", "_max_us", "_total_us")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._total_us = 0
        self._max_us = 0

    def __len__(self) -> int:
        return sum(self._buckets.values())

    def record_s(self, seconds: float) -> None:
        """Add one duration; negative ones (a clock's jitter) count as zero."""
        us = max(round(seconds * 1e6), 0)
        self._add(_bucket(us), 1)
        self._total_us += us
        self._max_us = max(self._max_us, us)

    def merge(self, other: LatencyHistogram) -> None:
        """Add all durations of another histogram."""
        for index, values in other._buckets.items():
            self._add(index, values)
        self._total_us += other._total_us
        self._max_us = max(self._max_us, other._max_us)

    @classmethod
    def merged(cls, histograms: Iterable[LatencyHistogram]) -> LatencyHistogram:
        """Return one histogram with the durations of all."""
        result = cls()
        for one in histograms:
            result.merge(one)
        return result

    @property
    def mean_ms(self) -> float:
        """The exact mean; NaN if empty."""
        return self._total_us / len(self) / MS if self._buckets else math.nan

    @property
    def max_ms(self) -> float:
        """The exact maximum; NaN if empty."""
        return self._max_us / MS if self._buckets else math.nan

    def percentile_ms(self, percent: float) -> float:
        """Return the smallest duration that at least ``percent`` of all don't exceed; NaN if empty."""
        return next((one.ms for one in self.bins() if one.cumulative * 100 >= percent - 1e-9), math.nan)

    def bins(self) -> Iterator[Bin]:
        """Yield the values in use, shortest first."""
        total, seen = len(self), 0
        for index in sorted(self._buckets):
            seen += self._buckets[index]
            yield Bin(min(_middle_us(index), self._max_us) / MS, self._buckets[index], seen / total)

    def to_wire(self) -> list[Any]:
        """Return plain values that msgpack and JSON carry."""
        return [self._total_us, self._max_us, [list(item) for item in self._buckets.items()]]

    @classmethod
    def from_wire(cls, wire: Sequence[Any]) -> LatencyHistogram:
        """Return what `to_wire` was called on."""
        result = cls()
        result._total_us, result._max_us, buckets = wire
        result._buckets = dict(buckets)
        return result

    def _add(self, index: int, values: int) -> None:
        self._buckets[index] = self._buckets.get(index, 0) + values


def _bucket(us: int) -> int:
    shift = max(us.bit_length() - _HALF_BITS - 1, 0)
    return (shift << _HALF_BITS) + (us >> shift)


def _middle_us(index: int) -> float:
    shift = max((index >> _HALF_BITS) - 1, 0)
    lowest = (index - (shift << _HALF_BITS)) << shift
    return lowest + ((1 << shift) - 1) / 2
