# SPDX-License-Identifier: Apache-2.0
"""The server's side of a run: per model and member, over all and by second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from yolov8_loadtest.server_statistics import ModelCounters, ServerSample, between

PARTS = ("queue", "input", "infer", "output")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFigures:
    """What one model did during a run; durations are means over its requests, in milliseconds, NaN without any.

    Attributes:
        model: Its name.
        ensemble: The ensemble that it is a member of; its own name if it is the ensemble.
        succeeded: Requests that were answered.
        failed: Requests that were not, as far as Triton counts them.
        executions: Batches that ran.
        mean_batch: Requests per batch.
        batches: How many there were of each size.
        total_ms: From arrival to answer.
        queue_ms: Of these, waiting for an instance.
        input_ms: Gathering inputs.
        infer_ms: Running.
        output_ms: Handing on outputs.
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
    """Where requests of one ensemble that ended around a moment spent their time, in milliseconds on average.

    Attributes:
        at_s: From the run's start.
        ensemble: Its name.
        queue_ms: Waiting in front of members, all together.
        compute_ms: By member, everything but waiting.
    """

    at_s: float
    ensemble: str
    queue_ms: float
    compute_ms: dict[str, float]


def server_figures(samples: Sequence[ServerSample], members: Mapping[str, Sequence[str]]) -> list[ModelFigures]:
    """Return the figures of each ensemble and, after it, its members, from the first sample to the last."""
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
    """Return what happened between each two samples, for those in which an ensemble answered."""
    found = []
    for before, after in pairwise(samples):
        models = between(before.models, after.models)
        for ensemble, inner in members.items():
            active = {name: models[name] for name in inner if name in models and models[name].succeeded}
            if active:
                found.append(_moment((before.at_s + after.at_s) / 2, ensemble, active))
    return found


def _figures(name: str, ensemble: str, counters: ModelCounters) -> ModelFigures:
    means = {f"{part}_ms": counters.mean_ms(part) for part in ("total", *PARTS)}
    return ModelFigures(
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
