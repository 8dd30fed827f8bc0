# SPDX-License-Identifier: Apache-2.0
"""The settings that are tried, and the choice among them; without I/O."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

NEARLY = 0.97
"""Settings that reach this share of the highest throughput count as equal; the one with the lowest p50 is chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The settings of a network's deployment.

    Attributes:
        instances: Number of model instances.
        threads: Threads of each instance.
        queue_delay_us: How long the network waits for a batch to fill, in microseconds.
        max_batch_size: Images in a batch at most.
    """

    instances: int
    threads: int
    queue_delay_us: int
    max_batch_size: int

    def flags(self) -> tuple[str, ...]:
        """Return the options of ``yolov8-export export`` for it."""
        copies = ("--instances", str(self.instances), "--threads", str(self.threads))
        batches = ("--queue-delay-us", str(self.queue_delay_us), "--max-batch-size", str(self.max_batch_size))
        return (*copies, *batches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The measurements of a setting.

    Attributes:
        throughput: Images a second by requests in flight, medians over the rounds.
        p50_ms: Median latency by requests in flight, medians over the rounds.
        p99_ms: 99th percentile of latency by requests in flight, medians over the rounds.
        cpu_s: CPU time an image with the most requests in flight.
        memory_mb: Resident memory of the server and its stubs.
    """

    throughput: Mapping[int, float]
    p50_ms: Mapping[int, float]
    p99_ms: Mapping[int, float]
    cpu_s: float
    memory_mb: float

    @property
    def highest(self) -> float:
        """The highest throughput."""
        return max(self.throughput.values())

    @property
    def soonest_ms(self) -> float:
        """p50 at the fewest requests in flight."""
        return self.p50_ms[min(self.p50_ms)]


def settings(
    *,
    cores: int,
    instances: Sequence[int],
    threads: Sequence[int],
    queue_delay_us: Sequence[int],
    max_batch_size: Sequence[int],
) -> list[Setting]:
    """Return all combinations with at most one thread more than there are cores.

    One thread more fills the time in which another instance's tensors are copied.
    """
    return list(_sensible(cores, instances, threads, queue_delay_us, max_batch_size))


def _sensible(
    cores: int, instances: Sequence[int], threads: Sequence[int], delays: Sequence[int], batches: Sequence[int]
) -> Iterator[Setting]:
    for copies, each, delay, batch in product(instances, threads, delays, batches):
        # A queue delay has no effect without batches.
        if copies * each <= cores + 1 and not (batch == 1 and delay):
            yield Setting(instances=copies, threads=each, queue_delay_us=delay, max_batch_size=batch)


def best(outcomes: Mapping[Setting, Outcome]) -> Setting:
    """Return the setting to deploy: the one with the lowest p50 among those with nearly the highest throughput."""
    highest = max(outcome.highest for outcome in outcomes.values())
    good = [setting for setting, outcome in outcomes.items() if outcome.highest >= NEARLY * highest]
    return min(good, key=lambda setting: outcomes[setting].soonest_ms)


def soonest(outcomes: Mapping[Setting, Outcome]) -> Setting:
    """Return the setting with the lowest p50 of a single request."""
    return min(outcomes, key=lambda setting: outcomes[setting].soonest_ms)


def median(values: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Return the medians over several rounds, by requests in flight."""
    return {key: statistics.median(one[key] for one in values) for key in values[0]}
