# SPDX-License-Identifier: Apache-2.0
"""The protocol of a contender: a program that the benchmark runs and measures.

A contender reads one line of JSON a round from standard input, and writes one to standard output. So it may import
anything, and be under any licence.

    {"images": ["1.jpg", "2.jpg"]}                      first, once
    {"ready": true}                                     answer
    {"in_flight": 4}                                    warm up: one image in each thread
    {"ready": true}                                     answer
    {"in_flight": 4, "seconds": 5.0}                    a round
    {"latencies_ms": [...], "seconds": 5.1, ...}        answer, the fields of `Round`
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TextIO

Ask = Callable[[bytes], int]
"""Takes an encoded image, returns the number of objects found in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """The measurements of one contender in one round.

    Attributes:
        latencies_ms: Latency of each image that was begun within the round.
        seconds: From the beginning to the last answer.
        objects: Number of objects found in each image of the set, by the image's index.
        cpu_s: CPU time of the contender's own process.
        stages_ms: Mean time of each part, where the contender knows it.
    """

    latencies_ms: list[float]
    seconds: float
    objects: dict[int, int]
    cpu_s: float
    stages_ms: dict[str, float] = field(default_factory=dict)


class StageClock:
    """Adds up the time of each part of the work, over all threads."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def add(self, times_s: Mapping[str, float]) -> None:
        """Add the parts of one image."""
        with self._lock:
            for name, seconds in times_s.items():
                self._sums[name] = self._sums.get(name, 0.0) + seconds
                self._counts[name] = self._counts.get(name, 0) + 1

    def take_ms(self) -> dict[str, float]:
        """Return the mean of each part since the last call."""
        with self._lock:
            means = {name: 1000 * self._sums[name] / self._counts[name] for name in self._sums}
            self._sums, self._counts = {}, {}
        return means


def serve(make_ask: Callable[[int], Ask], *, stages: StageClock | None = None) -> int:
    """Serve rounds until standard input ends.

    Args:
        make_ask: Makes the function that one thread calls for each image; it is given the thread's index.
        stages: Sums up the time of each part; filled by the functions that ``make_ask`` makes.
    """
    replies = _take_over_stdout()
    images = [Path(name).read_bytes() for name in json.loads(sys.stdin.readline())["images"]]
    asks: dict[int, Ask] = {}
    _reply(replies, {"ready": True})
    for line in sys.stdin:
        order = json.loads(line)
        callers = range(order["in_flight"])
        if "seconds" not in order:
            _in_threads(callers, lambda number: _warm_up(make_ask, asks, images, number))
            _reply(replies, {"ready": True})
            continue
        if stages is not None:
            stages.take_ms()
        _reply(replies, asdict(_round(asks, images, callers, order["seconds"], stages)))
    return 0


def _warm_up(make_ask: Callable[[int], Ask], asks: dict[int, Ask], images: Sequence[bytes], number: int) -> None:
    if number not in asks:
        asks[number] = make_ask(number)
    asks[number](images[number % len(images)])


def _round(
    asks: Mapping[int, Ask], images: Sequence[bytes], callers: range, seconds: float, stages: StageClock | None
) -> Round:
    cpu_s, began_s = time.process_time(), time.perf_counter()
    results: list[list[tuple[int, int, float]]] = [[] for _ in callers]
    _in_threads(callers, lambda n: _loop(asks[n], images, n, len(callers), began_s + seconds, results[n]))
    done = [result for part in results for result in part]
    return Round(
        latencies_ms=[1000 * latency for _, _, latency in done],
        seconds=time.perf_counter() - began_s,
        objects={image: count for image, count, _ in done},
        cpu_s=time.process_time() - cpu_s,
        stages_ms=stages.take_ms() if stages is not None else {},
    )


def _in_threads(callers: range, work: Callable[[int], None]) -> None:
    """Call ``work`` in one thread for each value; raise the first error."""
    with ThreadPoolExecutor(len(callers)) as threads:
        for done in [threads.submit(work, number) for number in callers]:
            done.result()


def _loop(
    ask: Ask, images: Sequence[bytes], first: int, step: int, end_s: float, results: list[tuple[int, int, float]]
) -> None:
    """Send the next image as soon as an answer is there; all threads together take the images in turn."""
    number = first
    while (begin_s := time.perf_counter()) < end_s:
        image = number % len(images)
        count = ask(images[image])
        results.append((image, count, time.perf_counter() - begin_s))
        number += step


def _take_over_stdout() -> TextIO:
    """Keep standard output for replies: what libraries print goes to standard error."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


def _reply(replies: TextIO, value: dict[str, Any]) -> None:
    replies.write(json.dumps(value) + "\n")
    replies.flush()
