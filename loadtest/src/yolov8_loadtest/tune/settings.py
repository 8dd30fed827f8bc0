# SPDX-License-Identifier: Apache-2.0
"""The settings that are tried, and the choice among them. No I/O."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

NEARLY = 0.97
"""Settings that reach this part of the highest throughput are as good; the one that answers soonest is chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a network is deployed.

    Attributes:
        instances: Copies of it, side by side.
        threads: Of each copy.
        queue_delay_us: How long it waits for a batch to fill.
        max_batch_size: Images that a member takes at once.
    """

    instances: int
    threads: int
    queue_delay_us: int
    max_batch_size: int

    def flags(self) -> tuple[str, ...]:
        """Return the options for ``python -m yolov8_export export``."""
        copies = ("--instances", str(self.instances), "--threads", str(self.threads))
        batches = ("--queue-delay-us", str(self.queue_delay_us), "--max-batch-size", str(self.max_batch_size))
        return (*copies, *batches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a setting came to.

    Attributes:
        throughput: Images a second by requests in flight, medians over the rounds.
        p50_ms: Likewise.
        p99_ms: Likewise.
        cpu_s: Processor time an image at the most requests in flight.
        memory_mb: Of the server and its stubs, resident.
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
    """Return all combinations that ask for no more than one thread beyond the cores: it computes while others wait."""
    return list(_sensible(cores, instances, threads, queue_delay_us, max_batch_size))


def _sensible(
    cores: int, instances: Sequence[int], threads: Sequence[int], delays: Sequence[int], batches: Sequence[int]
) -> Iterator[Setting]:
    for copies, each, delay, batch in product(instances, threads, delays, batches):
        # Without batches there is nothing to wait for.
        if copies * each <= cores + 1 and not (batch == 1 and delay):
            yield Setting(instances=copies, threads=each, queue_delay_us=delay, max_batch_size=batch)


def best(outcomes: Mapping[Setting, Outcome]) -> Setting:
    """Return the setting to deploy: of those with nearly the highest throughput, the one that answers soonest."""
    highest = max(outcome.highest for outcome in outcomes.values())
    good = [setting for setting, outcome in outcomes.items() if outcome.highest >= NEARLY * highest]
    return min(good, key=lambda setting: outcomes[setting].soonest_ms)


def soonest(outcomes: Mapping[Setting, Outcome]) -> Setting:
    """Return the setting that answers a single request soonest."""
    return min(outcomes, key=lambda setting: outcomes[setting].soonest_ms)


def median(values: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Return the medians over several rounds, by requests in flight."""
    return {key: statistics.median(one[key] for one in values) for key in values[0]}
