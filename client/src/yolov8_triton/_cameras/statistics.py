# SPDX-License-Identifier: Apache-2.0
"""What happened at a camera: rates, ages, gaps and errors."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

State = Literal["connecting", "live", "stale", "reconnecting", "dead", "ended"]

WINDOW_S = 10.0
"""Rates and ages are those of the last seconds."""
STALE_S = 2.0
"""A source that is open and brought no frame for so long is stale."""
DEAD_S = 30.0
"""A source that has brought no frame for so long, and can't be opened, is dead; attempts go on."""
AGE_BUCKETS_S = (0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.5, 5.0)
_MOST_KEPT = 2000
_LONGEST_MESSAGE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraStatistics:
    """The statistics of a camera; rates and ages are those of the last ten seconds, counts those since the start.

    Attributes:
        state: ``connecting`` at first; ``live``; ``stale`` while it is open and brings nothing; ``reconnecting`` after
            a failure; ``dead`` after half a minute of them, while attempts go on; ``ended`` for good.
        read_fps: Frames a second that were read.
        answered_fps: Frames a second that got a result.
        age_p50_s: Median age of the frames with a result, from capture to answer; None without any.
        age_p95_s: 95th percentile of these ages.
        read: Number of frames that were read.
        answered: Number of frames that got a result.
        failed: Number of frames that got an error.
        dropped: Number of frames that a newer one replaced before a request was free.
        late: Number of frames that were too old for their deadline before a request was free.
        skipped: Number of frames beyond the camera's ``fps``.
        reconnects: How often the source was opened again.
        silence_s: Seconds since the last frame.
        longest_silence_s: The longest time without a frame, the present one included.
        errors: Number of errors by kind: ``open``, ``read``, ``ended``, and the classes of answers' errors.
        message: The text of the last error; empty without any.
        age_buckets: Number of frames with a result by age since the start, for each limit of `AGE_BUCKETS_S` and above.
        age_sum_s: The sum of these ages.
    """

    state: State
    read_fps: float
    answered_fps: float
    age_p50_s: float | None
    age_p95_s: float | None
    read: int
    answered: int
    failed: int
    dropped: int
    late: int
    skipped: int
    reconnects: int
    silence_s: float
    longest_silence_s: float
    errors: Mapping[str, int]
    message: str
    age_buckets: tuple[int, ...]
    age_sum_s: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        values = asdict(self)
        del values["age_buckets"], values["age_sum_s"]
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in values.items()}


class _Rate:
    """A number of events a second."""

    def __init__(self, begin: float) -> None:
        self._begin = begin
        self._times: deque[float] = deque(maxlen=_MOST_KEPT)

    def add(self, now: float) -> None:
        self._times.append(now)

    def value(self, now: float) -> float:
        begin = max(self._begin, now - WINDOW_S)
        if len(self._times) == _MOST_KEPT:
            begin = max(begin, self._times[0])
        recent = sum(1 for at in self._times if at > begin)
        return recent / max(now - begin, 1.0)


class Recorder:
    """Counts what happens at a camera. It is not thread-safe: its owner has the lock.

    Attributes:
        counts: The counts of `CameraStatistics`, by name.
    """

    def __init__(self, now: float) -> None:
        self.counts: Counter[str] = Counter()
        self._phase: Literal["connecting", "open", "reconnecting", "ended"] = "connecting"
        self._read, self._answered = _Rate(now), _Rate(now)
        self._ages: deque[tuple[float, float]] = deque(maxlen=_MOST_KEPT)
        self._buckets = [0] * (len(AGE_BUCKETS_S) + 1)
        self._age_sum_s = 0.0
        self._last_frame = now
        self._longest_silence_s = 0.0
        self._errors: Counter[str] = Counter()
        self._message = ""

    def opened(self) -> None:
        """Record that the source is open."""
        if self._phase == "reconnecting":
            self.counts["reconnects"] += 1
        self._phase = "open"

    def frame(self, now: float) -> None:
        """Record a frame."""
        self.counts["read"] += 1
        self._read.add(now)
        self._longest_silence_s = max(self._longest_silence_s, now - self._last_frame)
        self._last_frame = now

    def result(self, now: float, age_s: float) -> None:
        """Record a frame that got a result."""
        self.counts["answered"] += 1
        self._answered.add(now)
        self._ages.append((now, age_s))
        self._buckets[bisect_left(AGE_BUCKETS_S, age_s)] += 1
        self._age_sum_s += age_s

    def error(self, kind: str, message: str) -> None:
        """Record an error."""
        self._errors[kind] += 1
        self._message = message[:_LONGEST_MESSAGE]

    def lost(self) -> None:
        """Record that the source has to be opened again."""
        self._phase = "reconnecting"

    def ended(self) -> None:
        """Record that no further frame will come."""
        self._phase = "ended"

    def snapshot(self, now: float) -> CameraStatistics:
        """Return the statistics so far."""
        ages = [age_s for at, age_s in self._ages if at > now - WINDOW_S]
        p50, p95 = (float(value) for value in np.percentile(ages, (50, 95))) if ages else (None, None)
        silence_s = now - self._last_frame
        counted = ("read", "answered", "failed", "dropped", "late", "skipped", "reconnects")
        return CameraStatistics(
            state=self._state(silence_s),
            read_fps=self._read.value(now),
            answered_fps=self._answered.value(now),
            age_p50_s=p50,
            age_p95_s=p95,
            silence_s=silence_s,
            longest_silence_s=self._longest_silence_s
            if self._phase == "ended"
            else max(self._longest_silence_s, silence_s),
            errors=dict(self._errors),
            message=self._message,
            age_buckets=tuple(self._buckets),
            age_sum_s=self._age_sum_s,
            **{name: self.counts[name] for name in counted},
        )

    def _state(self, silence_s: float) -> State:
        if self._phase == "ended":
            return "ended"
        if self._phase == "open":
            return "live" if silence_s < STALE_S else "stale"
        return "dead" if silence_s >= DEAD_S else self._phase
