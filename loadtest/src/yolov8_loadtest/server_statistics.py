# SPDX-License-Identifier: Apache-2.0
"""What Triton says of its models: where requests spent their time, and in which batches. No I/O."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any

_NS_IN_MS = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCounters:
    """One model's counters since it was loaded, or between two moments; durations are sums over its requests.

    Attributes:
        succeeded: Requests that were answered.
        failed: Requests that were not; Triton misses those that a full queue refused.
        executions: Batches that ran.
        total_ns: From arrival to answer.
        queue_ns: Waiting for an instance.
        input_ns: Gathering inputs.
        infer_ns: Running the model.
        output_ns: Handing on outputs.
        batches: How many executions there were of each batch size.
    """

    succeeded: int = 0
    failed: int = 0
    executions: int = 0
    total_ns: int = 0
    queue_ns: int = 0
    input_ns: int = 0
    infer_ns: int = 0
    output_ns: int = 0
    batches: Counter[int] = field(default_factory=Counter)

    def __add__(self, other: ModelCounters) -> ModelCounters:
        """Return both together."""
        values = {item.name: getattr(self, item.name) + getattr(other, item.name) for item in fields(self)}
        return ModelCounters(**values)

    def __sub__(self, earlier: ModelCounters) -> ModelCounters:
        """Return what came since an earlier moment."""
        values = {item.name: getattr(self, item.name) - getattr(earlier, item.name) for item in fields(self)}
        return ModelCounters(**values)

    @property
    def mean_batch(self) -> float:
        """Requests per execution; NaN without any."""
        return sum(size * count for size, count in self.batches.items()) / (self.batches.total() or math.nan)

    def mean_ms(self, what: str) -> float:
        """Return a duration's mean over the requests, ``what`` being total, queue, input, infer or output."""
        duration_ns: int = getattr(self, f"{what}_ns")
        return duration_ns / _NS_IN_MS / (self.succeeded or math.nan)


Snapshot = dict[str, ModelCounters]
"""Counters by model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSample:
    """A server's counters at one moment of a run, in seconds from its start."""

    at_s: float
    models: Snapshot


def snapshot(response: Any) -> Snapshot:
    """Read Triton's answer (``ModelStatisticsResponse``); versions of a model are added up."""
    models: dict[str, list[ModelCounters]] = {}
    for model in response.model_stats:
        models.setdefault(model.name, []).append(_counters(model))
    return {name: sum(versions, ModelCounters()) for name, versions in models.items()}


def between(before: Snapshot, after: Snapshot) -> Snapshot:
    """Return what came from one snapshot to the next, of the models that are in the later one."""
    return {name: counters - before.get(name, ModelCounters()) for name, counters in after.items()}


def _counters(model: Any) -> ModelCounters:
    stats = model.inference_stats
    return ModelCounters(
        succeeded=stats.success.count,
        failed=stats.fail.count,
        executions=model.execution_count,
        total_ns=stats.success.ns,
        queue_ns=stats.queue.ns,
        input_ns=stats.compute_input.ns,
        infer_ns=stats.compute_infer.ns,
        output_ns=stats.compute_output.ns,
        batches=Counter({batch.batch_size: batch.compute_infer.count for batch in model.batch_stats}),
    )
