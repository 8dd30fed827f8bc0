# SPDX-License-Identifier: Apache-2.0
"""Outcomes of requests, kept as histograms by second and stream, so that they stay small however long a run is.

A stream is one kind of traffic. Requests are filed under the second at which they were due; successful answers are
counted under the second at which they came, too, since that is what throughput means.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MS = 1000.0
"""Microseconds in a millisecond."""

_HALF_BITS = 10
"""Buckets per power of two: a value is known within 1 / 1024 of itself, and to the microsecond below 2 ms."""


class Bin(NamedTuple):
    """A bucket of a histogram: its middle, its number of values, and the share of all values up to it."""

    ms: float
    values: int
    cumulative: float


class LatencyHistogram:
    """A histogram of durations with three significant digits (high dynamic range).

    Only buckets in use are kept, so that one histogram a second and stream costs little memory and few bytes between
    processes. Merging is exact: percentiles of a merged histogram are those of all values.
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
        """Return the smallest duration that at least ``percent`` of all durations do not exceed; NaN if empty."""
        return next((one.ms for one in self.bins() if one.cumulative * 100 >= percent - 1e-9), math.nan)

    def bins(self) -> Iterator[Bin]:
        """Yield the buckets in use, shortest duration first."""
        total, seen = len(self), 0
        for index in sorted(self._buckets):
            seen += self._buckets[index]
            yield Bin(min(_middle_us(index), self._max_us) / MS, self._buckets[index], seen / total)

    def to_wire(self) -> list[Any]:
        """Return plain values that msgpack and JSON carry."""
        return [self._total_us, self._max_us, [list(item) for item in self._buckets.items()]]

    @classmethod
    def from_wire(cls, wire: Sequence[Any]) -> LatencyHistogram:
        """Return the object that `to_wire` was called on."""
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


TOO_LATE = "DeadlineExceededError"
"""The time of this failure counts as a latency: without it the slowest requests would be missing."""


@dataclass(slots=True)
class Cell:
    """The requests of one stream that were due within one second.

    Attributes:
        latency: From the moment that a request was due to its answer, for successful answers and those that came late.
        lag: Time between due and sent, which is the generator's own lateness.
        successful: Requests that were answered as expected.
        failures: The others, by the error's class name.
        dropped: Frames that a camera never sent.
        answered: Successful answers that came within this second, whenever they were due.
    """

    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    lag: LatencyHistogram = field(default_factory=LatencyHistogram)
    successful: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    answered: int = 0

    @property
    def requests(self) -> int:
        """All requests, successful or not."""
        return self.successful + self.failures.total()

    def merge(self, other: Cell) -> None:
        """Add another cell's requests."""
        self.latency.merge(other.latency)
        self.lag.merge(other.lag)
        self.successful += other.successful
        self.failures.update(other.failures)
        self.dropped += other.dropped
        self.answered += other.answered

    def to_wire(self) -> list[Any]:
        """Return plain values that msgpack carries."""
        counts = [self.successful, self.dropped, self.answered]
        return [self.latency.to_wire(), self.lag.to_wire(), counts, dict(self.failures)]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Cell:
        """Return the object that `to_wire` was called on."""
        latency, lag, (successful, dropped, answered), failures = wire
        return cls(
            latency=LatencyHistogram.from_wire(latency),
            lag=LatencyHistogram.from_wire(lag),
            successful=successful,
            failures=Counter(failures),
            dropped=dropped,
            answered=answered,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one request; times are seconds from the run's start.

    Attributes:
        stream: The kind of traffic.
        due_s: When it was due: the intended time in an open loop, the capture of a frame, else when it was sent.
        sent_s: When it was sent.
        finished_s: When its answer was there.
        failure: The error's class name, None for a successful one.
        message: The error's text.
    """

    stream: str
    due_s: float
    sent_s: float
    finished_s: float
    failure: str | None = None
    message: str = ""


class Recorder:
    """The outcomes of one process, or of all."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, str], Cell] = {}
        self._packed: dict[tuple[int, str], bytes] = {}
        self._messages: dict[str, str] = {}

    def record(self, outcome: Outcome) -> None:
        """Add one request."""
        cell = self._cell(outcome.due_s, outcome.stream)
        cell.lag.record_s(outcome.sent_s - outcome.due_s)
        if outcome.failure is None:
            cell.successful += 1
            self._cell(outcome.finished_s, outcome.stream).answered += 1
        else:
            cell.failures[outcome.failure] += 1
            self._messages.setdefault(outcome.failure, outcome.message)
        if outcome.failure in (None, TOO_LATE):
            cell.latency.record_s(outcome.finished_s - outcome.due_s)

    def drop(self, stream: str, captured_s: float, frames: int) -> None:
        """Add frames that were never sent."""
        if frames:
            self._cell(captured_s, stream).dropped += frames

    def take(self) -> dict[str, Any]:
        """Return the records since the last call as plain values, and forget them."""
        cells = [[second, stream, cell.to_wire()] for (second, stream), cell in self._cells.items()]
        delta = {"cells": cells, "messages": self._messages}
        self._cells, self._messages = {}, {}
        return delta

    def merge(self, delta: dict[str, Any]) -> None:
        """Add the records that another recorder's `take` returned."""
        for second, stream, wire in delta["cells"]:
            self._cell(second, stream).merge(Cell.from_wire(wire))
        for failure, message in delta["messages"].items():
            self._messages.setdefault(failure, message)

    def pack(self, before_s: float) -> None:
        """Store the seconds before ``before_s`` as text, in a third of the memory."""
        for key in [key for key in self._cells if key[0] < before_s]:
            self._packed[key] = json.dumps(self._cells.pop(key).to_wire()).encode()

    def cells(self, from_s: float = -math.inf) -> Iterator[tuple[int, str, Cell]]:
        """Yield second, stream and cell in order of time from ``from_s`` on; callers must not change the cells."""
        for second, stream in sorted(key for key in (*self._packed, *self._cells) if key[0] >= from_s):
            packed = self._packed.get((second, stream))
            yield second, stream, self._cells[second, stream] if packed is None else _unpacked(packed)

    @property
    def messages(self) -> dict[str, str]:
        """The first message of each failure, by class name."""
        return dict(self._messages)

    def _cell(self, second: float, stream: str) -> Cell:
        key = (math.floor(second), stream)
        if key not in self._cells:
            packed = self._packed.pop(key, None)  # a very late answer belongs to a packed second
            self._cells[key] = Cell() if packed is None else _unpacked(packed)
        return self._cells[key]


def _unpacked(packed: bytes) -> Cell:
    return Cell.from_wire(json.loads(packed))
