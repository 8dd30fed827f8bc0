# SPDX-License-Identifier: Apache-2.0
"""One finished run: what was recorded, and what it comes to."""

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
        scenario: What was run.
        url: Against which server.
        started_epoch_s: When, as `time.time` has it.
        recorder: What became of the requests.
        watch: What the server and the processes did meanwhile.
        generators: How many processes sent requests.
        problems: Why the run is not what it should have been, in sentences; empty for a whole one.
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
        """What the callers saw."""
        return run_statistics(self.recorder, self.scenario.load)

    @cached_property
    def server(self) -> list[ModelStatistics]:
        """What the server says of its models."""
        return server_statistics(self.watch.samples, self.watch.members)

    @cached_property
    def growth(self) -> list[ProcessGrowth]:
        """How processes grew after the warm-up."""
        load = self.scenario.load
        warm = [
            start + stage.duration_s for start, stage in zip(load.starts(), load.stages, strict=True) if stage.warmup
        ]
        return leak_check(self.watch.resources, from_s=max(warm, default=0), until_s=load.duration_s)

    @cached_property
    def measured(self) -> Measured:
        """What the SLO looks at."""
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
        """Each limit of the SLO, and whether it was kept."""
        return checks(self.scenario.slo, self.measured)

    @property
    def violations(self) -> list[str]:
        """Why the run failed, in sentences; empty if it passed."""
        return [*self.problems, *violations(self.scenario.slo, self.measured)]
