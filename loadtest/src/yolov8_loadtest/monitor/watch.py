# SPDX-License-Identifier: Apache-2.0
"""Watch the server and the processes of a run, and notice within seconds when the server is gone.

A long run keeps a limited number of samples: a soak test that looks for leaks must not grow by its own samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import gevent

from yolov8_loadtest.errors import PreparationError
from yolov8_loadtest.gevent_call import cooperative
from yolov8_loadtest.messages import RunClock
from yolov8_loadtest.monitor.processes import ResourceSample, Usage, generator_usage, server_usage
from yolov8_loadtest.monitor.server import Metrics, ServerSample, Snapshot, fetch_metrics, growth, snapshot
from yolov8_loadtest.options import Options
from yolov8_triton import ServerUnavailableError, YoloTritonError
from yolov8_triton.low_level import Connection

MOST_SAMPLES = 300


class Sampling:
    """Chooses the seconds of a run that are kept: all of a short run, about `MOST_SAMPLES` of a long one."""

    def __init__(self, duration_s: float) -> None:
        self._apart_s = max(1.0, duration_s / MOST_SAMPLES)
        self._kept_s = 0

    def keeps(self, at_s: float) -> bool:
        """Tell whether to keep the sample of this second; waking a little early or late makes no difference."""
        second = round(at_s)
        if second - self._kept_s < self._apart_s:
            return False
        self._kept_s = second
        return True


INTERVAL_S = 1.0
TIMEOUT_S = 3.0
PATIENCE_S = 5.0
"""A run ends when its server has not answered for this long: further refused connections tell nothing more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRecord:
    """The samples of one run.

    Attributes:
        server: Triton's version.
        members: The composing models of each ensemble.
        samples: The server's statistics.
        metrics: Increase of the server's other counters; None where its metrics port is unknown.
        resources: Usage of the processes on this machine.
    """

    server: str
    members: dict[str, list[str]]
    samples: Sequence[ServerSample] = ()
    metrics: Metrics | None = None
    resources: Sequence[ResourceSample] = field(default_factory=list)


class RunWatch:
    """Samples the server and the processes of one run.

    Args:
        options: The options of the run.
        models: The ensembles that the run asks.

    Raises:
        PreparationError: The server doesn't answer.
    """

    def __init__(self, options: Options, *, models: Sequence[str]) -> None:
        self._options = options
        self._server = Connection(options.url, wait=cooperative)
        try:
            self._version = self._server.version(TIMEOUT_S)
            self._members = {model: self._server.composing_models(model, TIMEOUT_S) for model in models}
            self._samples = [ServerSample(at_s=0.0, models=self._statistics())]
        except YoloTritonError as exc:
            self._server.close()
            raise PreparationError(f"the server doesn't tell about itself: {exc}") from exc
        self._metrics = fetch_metrics(self._options.metrics_url)
        self._metrics_growth: Metrics | None = None
        self._resources: list[ResourceSample] = []
        self._sampling = Sampling(options.scenario.load.duration_s)
        self.problems: list[str] = []

    @property
    def gave_up(self) -> bool:
        """Whether the server is gone."""
        return bool(self.problems)

    def start(self, clock: RunClock) -> None:
        """Start sampling."""
        self._clock = clock
        self._loop = gevent.spawn(self._watch)

    def stop(self) -> None:
        """Take the last sample and close the connection."""
        self._loop.kill()
        self._sample(last=True)
        after = fetch_metrics(self._options.metrics_url)
        if self._metrics is not None and after is not None:
            self._metrics_growth = growth(self._metrics, after)
        self._server.close()

    def record(self) -> WatchRecord:
        """Return the samples."""
        return WatchRecord(
            server=self._version,
            members=self._members,
            samples=self._samples,
            metrics=self._metrics_growth,
            resources=self._resources,
        )

    def _watch(self) -> None:
        answered_s = 0.0
        while True:
            gevent.sleep(INTERVAL_S - self._clock.now_s() % INTERVAL_S)
            if self._sample():
                answered_s = self._clock.now_s()
            elif self._clock.now_s() - answered_s > PATIENCE_S and not self.problems:
                self.problems.append(
                    f"the server at {self._options.url} has not answered since second {answered_s:.0f}"
                )

    def _sample(self, *, last: bool = False) -> bool:
        """Ask the server, and keep a sample if one is due; return False where the server is unavailable."""
        now_s = self._clock.now_s()
        keep = self._sampling.keeps(now_s) or last
        if keep:
            self._resources.append(ResourceSample(at_s=now_s, usage=self._usage()))
        try:
            statistics = self._statistics()
        except ServerUnavailableError:
            return False
        except YoloTritonError:
            return True  # the server is there, and busy
        if keep:
            self._samples.append(ServerSample(at_s=self._clock.now_s(), models=statistics))
        return True

    def _usage(self) -> dict[str, Usage]:
        pid = self._options.server_pid
        return generator_usage() | (server_usage(pid) if pid is not None else {})

    def _statistics(self) -> Snapshot:
        return snapshot(self._server.statistics(TIMEOUT_S))
