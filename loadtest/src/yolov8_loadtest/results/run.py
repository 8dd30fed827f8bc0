# SPDX-License-Identifier: Apache-2.0
"""A finished run: its records, statistics and verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from yolov8_loadtest.monitor.processes import ProcessGrowth, leak_check
from yolov8_loadtest.monitor.server import ModelStatistics, server_statistics
from yolov8_loadtest.monitor.watch import WatchRecord
from yolov8_loadtest.results.recorder import Recorder
from yolov8_loadtest.results.statistics import RunStatistics, run_statistics
from yolov8_loadtest.scenario.scenario import Scenario
from yolov8_loadtest.scenario.slo import Check, Measured, checks, violations


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that has ended.

    Attributes:
        scenario: The scenario.
        url: Address of the server.
        started_epoch_s: Start of the run, as `time.time` counts.
        recorder: The outcomes of the requests.
        watch: The samples of server and processes.
        generators: Number of processes that sent requests.
        problems: Sentences about what went wrong with the run itself; empty for a complete run.
    """

    scenario: Scenario
    url: str
    started_epoch_s: float
    recorder: Recorder
    watch: WatchRecord
    generators: int
    problems: list[str]

    @cached_property
    def statistics(self) -> RunStatistics:
        """The statistics that callers saw."""
        return run_statistics(self.recorder, self.scenario.load)

    @cached_property
    def server(self) -> list[ModelStatistics]:
        """The server's statistics of its models."""
        return server_statistics(self.watch.samples, self.watch.members)

    @cached_property
    def growth(self) -> list[ProcessGrowth]:
        """The growth of each process after the warm-up."""
        load = self.scenario.load
        warm = [
            start + stage.duration_s for start, stage in zip(load.starts(), load.stages, strict=True) if stage.warmup
        ]
        return leak_check(self.watch.resources, from_s=max(warm, default=0), until_s=load.duration_s)

    @cached_property
    def measured(self) -> Measured:
        """The measurements that the SLO limits."""
        total = self.statistics.total
        return Measured(
            requests=total.requests,
            p50_ms=total.p50_ms,
            p95_ms=total.p95_ms,
            p99_ms=total.p99_ms,
            error_ratio=total.error_ratio,
            throughput_per_s=total.throughput_per_s,
            dropped_ratio=total.dropped_ratio,
            memory_growth_ratio=max((one.memory_ratio for one in self.growth), default=math.nan),
            descriptor_growth=max((one.descriptors for one in self.growth), default=math.nan),
        )

    @property
    def checks(self) -> list[Check]:
        """Each limit of the SLO, and whether the run passes it."""
        return checks(self.scenario.slo, self.measured)

    @property
    def violations(self) -> list[str]:
        """Sentences about why the run failed; empty if it passed."""
        return [*self.problems, *violations(self.scenario.slo, self.measured)]
