# SPDX-License-Identifier: Apache-2.0
"""The server's side of a run: Triton's statistics and metrics of each composing model, over all and by second.

Statistics say where requests spent their time, and in which batches. Metrics add the refusals, which Triton's
statistics miss.
"""

from __future__ import annotations

import math
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

TIMEOUT_S = 3.0

INTERESTING = ("nv_inference_request_failure", "yolov8_")
"""Beginnings of the names of metrics that the statistics lack."""

Metrics = dict[str, float]
"""Values by name and labels, written ``name{model="m", reason="r"}``."""


def read_metrics(text: str) -> Metrics:
    """Return those of a metrics page that add to the statistics; a model's version is left out of the labels."""
    # The parser appends _total to the name of what a TYPE line calls a counter; Triton's names go without.
    samples = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    return {
        _written(sample): sample.value
        for family in text_string_to_metric_families(samples)
        for sample in family.samples
        if sample.name.startswith(INTERESTING)
    }


def fetch_metrics(url: str | None) -> Metrics | None:
    """Return the metrics of a server, None where the address of its metrics port is unknown or nobody answers there."""
    if url is None:
        return None
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            return read_metrics(answer.read().decode())
    except OSError:
        return None


def growth(before: Mapping[str, float], after: Mapping[str, float]) -> Metrics:
    """Return the increase of each counter that increased."""
    grown = {key: value - before.get(key, 0.0) for key, value in after.items()}
    return {key: value for key, value in grown.items() if value > 0}


def _written(sample: Sample) -> str:
    labels = ", ".join(f'{key}="{value}"' for key, value in sample.labels.items() if key != "version")
    return f"{sample.name}{{{labels}}}"


_NS_IN_MS = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCounters:
    """The counters of one model since it was loaded, or between two moments; durations are sums over its requests.

    Attributes:
        succeeded: Requests that were answered.
        failed: Requests that failed; Triton does not count those that a full queue refused.
        executions: Batches that ran.
        total_ns: Time from arrival to answer.
        queue_ns: Time spent waiting for a model instance.
        input_ns: Time spent gathering inputs.
        infer_ns: Time spent running the model.
        output_ns: Time spent passing outputs on.
        batches: Number of executions by batch size.
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
        """Return the sum of both."""
        values = {item.name: getattr(self, item.name) + getattr(other, item.name) for item in fields(self)}
        return ModelCounters(**values)

    def __sub__(self, earlier: ModelCounters) -> ModelCounters:
        """Return the counters since an earlier moment."""
        values = {item.name: getattr(self, item.name) - getattr(earlier, item.name) for item in fields(self)}
        return ModelCounters(**values)

    @property
    def mean_batch(self) -> float:
        """Requests per execution; NaN without any."""
        return sum(size * count for size, count in self.batches.items()) / (self.batches.total() or math.nan)

    def mean_ms(self, what: str) -> float:
        """Return the mean duration of a request in milliseconds; ``what`` is total, queue, input, infer or output."""
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
    """Return the counters between two snapshots, for the models of the later one."""
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


PARTS = ("queue", "input", "infer", "output")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatistics:
    """The statistics of one model during a run; durations are means over its requests in milliseconds, NaN without any.

    Attributes:
        model: Its name.
        ensemble: The ensemble that it belongs to; its own name for the ensemble itself.
        succeeded: Requests that were answered.
        failed: Requests that failed, as far as Triton counts them.
        executions: Batches that ran.
        mean_batch: Requests per batch.
        batches: Number of batches by size.
        total_ms: Time from arrival to answer.
        queue_ms: Part of it spent waiting for a model instance.
        input_ms: Part of it spent gathering inputs.
        infer_ms: Part of it spent running the model.
        output_ms: Part of it spent passing outputs on.
    """

    model: str
    ensemble: str
    succeeded: int
    failed: int
    executions: int
    mean_batch: float
    batches: dict[int, int]
    total_ms: float
    queue_ms: float
    input_ms: float
    infer_ms: float
    output_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMoment:
    """Mean time in milliseconds that requests of one ensemble spent in its stages around a moment.

    Attributes:
        at_s: Seconds from the run's start.
        ensemble: Name of the ensemble.
        queue_ms: Time spent waiting in front of all composing models.
        compute_ms: All other time, by composing model.
    """

    at_s: float
    ensemble: str
    queue_ms: float
    compute_ms: dict[str, float]


def server_statistics(samples: Sequence[ServerSample], members: Mapping[str, Sequence[str]]) -> list[ModelStatistics]:
    """Return the statistics of each ensemble, followed by its composing models, from the first sample to the last."""
    if len(samples) < 2:
        return []
    models = between(samples[0].models, samples[-1].models)
    return [
        _figures(name, ensemble, models[name])
        for ensemble, inner in members.items()
        for name in (ensemble, *inner)
        if name in models
    ]


def moments(samples: Sequence[ServerSample], members: Mapping[str, Sequence[str]]) -> list[ServerMoment]:
    """Return the times between each two samples in which an ensemble answered."""
    found = []
    for before, after in pairwise(samples):
        models = between(before.models, after.models)
        for ensemble, inner in members.items():
            active = {name: models[name] for name in inner if name in models and models[name].succeeded}
            if active:
                found.append(_moment((before.at_s + after.at_s) / 2, ensemble, active))
    return found


def _figures(name: str, ensemble: str, counters: ModelCounters) -> ModelStatistics:
    means = {f"{part}_ms": counters.mean_ms(part) for part in ("total", *PARTS)}
    return ModelStatistics(
        model=name,
        ensemble=ensemble,
        succeeded=counters.succeeded,
        failed=counters.failed,
        executions=counters.executions,
        mean_batch=counters.mean_batch,
        batches=dict(sorted(counters.batches.items())),
        **means,
    )


def _moment(at_s: float, ensemble: str, active: Mapping[str, ModelCounters]) -> ServerMoment:
    return ServerMoment(
        at_s=at_s,
        ensemble=ensemble,
        queue_ms=sum(counters.mean_ms("queue") for counters in active.values()),
        compute_ms={
            name: sum(counters.mean_ms(part) for part in ("input", "infer", "output"))
            for name, counters in active.items()
        },
    )
