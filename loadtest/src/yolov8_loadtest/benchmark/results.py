# SPDX-License-Identifier: Apache-2.0
"""The results of a benchmark: tables in Markdown, ratios, and which thresholds they pass."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from yolov8_loadtest.benchmark.contenders import (
    IN_PROCESS,
    OTHER_CLIENT,
    OTHER_CLIENT_INT8,
    OVER_GRPC,
    OVER_GRPC_INT8,
    OVER_GRPC_LATENCY,
    order_of,
)
from yolov8_loadtest.benchmark.measurement import Cell, Contender, Sample, cell, way_of
from yolov8_loadtest.report.tables import Cell as TableCell
from yolov8_loadtest.report.tables import markdown_table


def throughput_table(results: Results) -> str:
    """Return throughput at each number in flight, and what an image costs at the highest."""
    header = [
        "",
        *(f"img/s, {in_flight} in flight" for in_flight in results.in_flight),
        "CPU s / image",
        "MB / image on the wire",
    ]
    rows: list[list[TableCell]] = []
    for one in results.contenders:
        cells = [results.cell(one.key, in_flight) for in_flight in results.in_flight]
        cost = [f"{cells[-1].cpu_s:.3f}", f"{cells[-1].wire_mb:.2f}"]
        rows.append([one.label, *(figures.throughput for figures in cells), *cost])
    return markdown_table(header, rows)


def latency_table(results: Results) -> str:
    """Return p50 and p99 at each number in flight, in milliseconds."""
    header = ["ms", *(f"{part}, {in_flight} in flight" for in_flight in results.in_flight for part in ("p50", "p99"))]
    rows: list[list[TableCell]] = []
    for one in results.contenders:
        cells = [results.cell(one.key, in_flight) for in_flight in results.in_flight]
        rows.append([one.label, *(value for figures in cells for value in (figures.p50_ms, figures.p99_ms))])
    return markdown_table(header, rows)


def stage_table(results: Results) -> str:
    """Return where the time goes with one request in flight, in milliseconds."""
    rows: list[list[TableCell]] = []
    quickest = results.quickest(IN_PROCESS)
    if quickest is not None:
        stages = results.cell(quickest, 1).stages_ms
        rows += [[f"in one process: {name}", None, None, ms, None, ms] for name, ms in stages.items()]
    for one in results.contenders:
        rows += _served_rows(results, one)
    return markdown_table(("one in flight, means in ms", "queue", "input", "run", "output", "all"), rows)


def threshold_table(thresholds: Sequence[Threshold]) -> str:
    """Return the ratios that have a threshold."""
    rows: list[list[TableCell]] = [
        [
            one.what,
            f"{one.measured:.3f}",
            f"{'at least' if one.at_least else 'at most'} {one.limit:g}",
            "pass" if one.passed else "FAIL",
        ]
        for one in thresholds
    ]
    return markdown_table(("ratio, in this run", "measured", "threshold", ""), rows)


def _served_rows(results: Results, contender: Contender) -> list[list[TableCell]]:
    """Return a row for each composing model that a contender used; no row for one without a server."""
    if contender.model is None:
        return []
    figures = results.cell(contender.key, 1)
    rows: list[list[TableCell]] = []
    inside = 0.0
    for name, counters in sorted(figures.models.items(), key=lambda item: _order(item[0])):
        if name == contender.model:
            continue
        parts = [counters.mean_ms(part) for part in PARTS]
        inside += sum(parts)
        rows.append([f"{contender.label}: {name.removeprefix(f'{contender.model}_')}", *parts, sum(parts)])
    others = contender.way in (OTHER_CLIENT, OTHER_CLIENT_INT8)
    what = "the client's own work, transport" if others else "scheduling, transport, client"
    rest = figures.mean_ms - inside
    return [*rows, [f"{contender.label}: {what} (the mean less the above)", None, None, None, None, rest]]


def _order(name: str) -> int:
    return next(
        (i for i, part in enumerate(("check", "preprocess", "network", "postprocess")) if name.endswith(part)), 9
    )


PARTS = ("queue", "input", "infer", "output")


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A ratio between two contenders, and its limit.

    Attributes:
        what: Description of the ratio.
        measured: The measured ratio.
        limit: Smallest or largest ratio that passes.
        at_least: Whether ``limit`` is the smallest one.
    """

    what: str
    measured: float
    limit: float
    at_least: bool = True

    @property
    def passed(self) -> bool:
        """Whether the ratio is within its limit."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


class Results:
    """All samples of a benchmark, by contender and number in flight."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = list(samples)
        self.contenders: list[Contender] = _in_order(sample.contender for sample in samples)
        self.in_flight = sorted({sample.in_flight for sample in samples})
        self._cells = {
            (one.key, in_flight): cell(
                [sample for sample in samples if sample.contender.key == one.key and sample.in_flight == in_flight]
            )
            for one in self.contenders
            for in_flight in self.in_flight
        }

    def cell(self, key: str, in_flight: int) -> Cell:
        """Return the summary of one contender with one number of requests in flight."""
        return self._cells[key, in_flight]

    def best(self, way: str) -> tuple[str, int] | None:
        """Return the key and number in flight with the highest throughput of a way; None where it was not measured."""
        candidates = [(key, in_flight) for key, in_flight in self._cells if way_of(key) == way]
        return max(candidates, key=lambda at: self._cells[at].throughput, default=None)

    def quickest(self, way: str) -> str | None:
        """Return the key with the lowest p50 of one request in a way to serve; None where it was not measured."""
        keys = [key for key, in_flight in self._cells if way_of(key) == way and in_flight == 1]
        return min(keys, key=lambda key: self._cells[key, 1].p50_ms, default=None)

    def throughput_ratio(self, way: str, other: str) -> float:
        """Return the ratio of the highest throughputs of two ways to serve: the median over the rounds."""
        first, second = self.best(way), self.best(other)
        if first is None or second is None:
            return math.nan
        pairs = zip(self._cells[first].by_round, self._cells[second].by_round, strict=True)
        return statistics.median(a / b for a, b in pairs)

    def outside_ms(self, key: str) -> float:
        """Return the mean time outside of the server of one request; NaN for a contender without a server."""
        figures = self._cells[key, 1]
        model = next(one.model for one in self.contenders if one.key == key)
        counters = figures.models.get(model) if model else None
        return figures.mean_ms - counters.mean_ms("total") if counters else math.nan

    def latency_ratio(self) -> float:
        """Return p50 of one request in our fastest ensemble, less transport, divided by the fastest pipeline's."""
        quickest = self.quickest(IN_PROCESS)
        if quickest is None:
            return math.nan
        served = min(
            self.cell(key, 1).p50_ms - self.outside_ms(key)
            for key in (OVER_GRPC, OVER_GRPC_LATENCY)
            if (key, 1) in self._cells
        )
        return served / self.cell(quickest, 1).p50_ms

    def thresholds(self) -> list[Threshold]:
        """Return the ratios that could be measured. The faster the network, the more serving weighs."""
        throughput = [
            ("highest throughput: our ensemble over gRPC / the best in-process pipeline", OVER_GRPC, IN_PROCESS, 0.95),
            (
                "highest throughput: our ensemble over gRPC / Ultralytics' client on the same network",
                OVER_GRPC,
                OTHER_CLIENT,
                1.15,
            ),
            ("the same with the INT8 network", OVER_GRPC_INT8, OTHER_CLIENT_INT8, 1.3),
        ]
        found = [
            Threshold(what=what, measured=self.throughput_ratio(ours, theirs), limit=limit)
            for what, ours, theirs, limit in throughput
        ]
        latency = Threshold(
            what="p50, one in flight: our quickest ensemble less transport / the quickest in-process pipeline",
            measured=self.latency_ratio(),
            limit=1.10,
            at_least=False,
        )
        found.insert(1, latency)
        return [one for one in found if not math.isnan(one.measured)]

    def disagreements(self) -> list[str]:
        """Name contenders that find another number of objects in the same images: they do not do the same work."""
        found = []
        for one in self.contenders:
            first = next(other for other in self.contenders if _reduced(other) == _reduced(one))
            expected, counts = _objects(self.samples, first.key), _objects(self.samples, one.key)
            if counts != expected:
                totals = sum(counts.values()), sum(expected.values())
                found.append(f"{one.label} finds {totals[0]} objects, {first.label} {totals[1]}")
        return found

    def to_json(self) -> list[dict[str, Any]]:
        """Return the figures as plain values."""
        return [
            {"contender": key, "in_flight": in_flight, **asdict(figures)}
            for (key, in_flight), figures in self._cells.items()
        ]


def _objects(samples: Sequence[Sample], key: str) -> dict[int, int]:
    """Return the number of objects in each image that all contenders got to."""
    seen = [set(sample.round.objects) for sample in samples]
    common = set.intersection(*seen) if seen else set()
    one = next(sample for sample in samples if sample.contender.key == key)
    return {image: one.round.objects[image] for image in sorted(common)}


def _reduced(contender: Contender) -> bool:
    """Return whether a contender's network is the INT8 one."""
    return contender.way in (OVER_GRPC_INT8, OTHER_CLIENT_INT8)


def _in_order(contenders: Iterable[Contender]) -> list[Contender]:
    return sorted({one.key: one for one in contenders}.values(), key=order_of)
