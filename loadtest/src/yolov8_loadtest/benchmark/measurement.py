# SPDX-License-Identifier: Apache-2.0
"""A contender's process, seen from the benchmark.

Run all contenders in turn, round by round, so that whatever disturbs the machine disturbs them alike.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from yolov8_loadtest.benchmark.contender import Round
from yolov8_loadtest.connection import Connection
from yolov8_loadtest.errors import LoadTestError
from yolov8_loadtest.monitor.processes import cpu_seconds, server_usage
from yolov8_loadtest.monitor.server import ModelCounters, Snapshot, between, snapshot
from yolov8_loadtest.results.recorder import LatencyHistogram

STOP_TIMEOUT_S = 20.0
# Ultralytics neither installs packages nor asks the net while it is measured.
ENVIRONMENT = {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true"}


class ContenderError(LoadTestError):
    """A contender failed; its own words are on standard error."""


def way_of(key: str) -> str:
    """Return the way to serve from a contender's key."""
    return key.partition(" ")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A way to get from a photograph to detections.

    Attributes:
        key: The way to serve, and after a blank its setting where several are tried: ``in-process 2x1``.
        label: What it is, for tables.
        command: The program.
        model: The ensemble that it asks, or whose network; None where it uses no server.
    """

    key: str
    label: str
    command: tuple[str, ...]
    model: str | None = None

    @property
    def way(self) -> str:
        """The way to serve, without its setting."""
        return way_of(self.key)


class ContenderProcess:
    """A contender that is ready for rounds while the context lasts.

    Raises:
        ContenderError: It doesn't start, or fails in a round.
    """

    def __init__(self, contender: Contender, images: Sequence[Path]) -> None:
        self.contender = contender
        self._process = subprocess.Popen(
            contender.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | ENVIRONMENT
        )
        try:
            self._order({"images": [str(path) for path in images]})
        except ContenderError:
            self.close()
            raise

    def __enter__(self) -> ContenderProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def warm_up(self, in_flight: int) -> None:
        """Let it work on one image for each request that will be in flight."""
        self._order({"in_flight": in_flight})

    def round(self, in_flight: int, seconds: float) -> Round:
        """Let it work for some time with so many requests in flight, once it is warm."""
        answer = self._order({"in_flight": in_flight, "seconds": seconds})
        objects = {int(image): count for image, count in answer.pop("objects").items()}
        return Round(objects=objects, **answer)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _order(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it has ended; there is no answer either
        line = self._process.stdout.readline()
        if not line:
            raise ContenderError(f"{self.contender.label} ended with code {self._process.wait()} in the middle of it")
        answer: dict[str, Any] = json.loads(line)
        return answer


STATISTICS_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One round of one contender, with what the server and the machine say of it.

    Attributes:
        contender: Who.
        in_flight: How many requests at once.
        round: What the contender says.
        server_cpu_s: Processor time of the server.
        wire_bytes: What went over the loopback interface.
        models: The server's counters of this round.
    """

    contender: Contender
    in_flight: int
    round: Round
    server_cpu_s: float
    wire_bytes: int
    models: Snapshot = field(default_factory=dict)

    @property
    def throughput(self) -> float:
        """Images a second."""
        return len(self.round.latencies_ms) / self.round.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured.

    Attributes:
        contenders: In the order of the tables.
        in_flight: How many requests at once, one after the other.
        rounds: How often each is measured.
        seconds: How long a round is.
    """

    contenders: Sequence[Contender]
    in_flight: Sequence[int]
    rounds: int
    seconds: float

    @property
    def duration_s(self) -> float:
        """About how long it will take."""
        return len(self.contenders) * len(self.in_flight) * self.rounds * (self.seconds + 0.5)


def measure(
    plan: Plan, images: Sequence[Path], *, url: str, server_pid: int | None, tell: Callable[[str], None]
) -> list[Sample]:
    """Measure all contenders.

    Args:
        plan: What is measured.
        images: What they are given.
        url: Of the server that those use who use one.
        server_pid: Its process, None if it isn't on this machine.
        tell: Is told how far it is.

    Raises:
        ContenderError: One of them failed.
    """
    samples: list[Sample] = []
    with ExitStack() as stack:
        connection = stack.enter_context(Connection(url))
        processes = [stack.enter_context(ContenderProcess(one, images)) for one in plan.contenders]
        for number in range(plan.rounds):
            for in_flight in plan.in_flight:
                samples += [
                    _sample(process, in_flight, plan.seconds, connection, server_pid)
                    for process in _rotated(processes, number)
                ]
            tell(f"round {number + 1} of {plan.rounds} done")
    return samples


def _rotated(processes: Sequence[ContenderProcess], by: int) -> Iterator[ContenderProcess]:
    """Nobody always comes after the same neighbour."""
    start = by % len(processes)
    yield from processes[start:]
    yield from processes[:start]


def _sample(
    process: ContenderProcess, in_flight: int, seconds: float, connection: Connection, server_pid: int | None
) -> Sample:
    process.warm_up(in_flight)
    before, cpu_s, wire = _statistics(connection), _server_cpu(server_pid), loopback_bytes()
    done = process.round(in_flight, seconds)
    return Sample(
        contender=process.contender,
        in_flight=in_flight,
        round=done,
        server_cpu_s=_server_cpu(server_pid) - cpu_s,
        wire_bytes=loopback_bytes() - wire,
        models={name: one for name, one in between(before, _statistics(connection)).items() if one.succeeded},
    )


def _statistics(connection: Connection) -> Snapshot:
    return snapshot(connection.statistics(STATISTICS_TIMEOUT_S))


def _server_cpu(pid: int | None) -> float:
    return 0.0 if pid is None else cpu_seconds(server_usage(pid))


def loopback_bytes() -> int:
    """Return how many bytes have gone over the loopback interface, all protocols' headers included."""
    for line in Path("/proc/net/dev").read_text(encoding="ascii").splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "lo":
            return int(numbers.split()[0])
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """All rounds of one contender at one number in flight.

    Attributes:
        throughput: Images a second, over all rounds.
        by_round: Likewise, of each.
        mean_ms: Of all images.
        p50_ms: Likewise.
        p99_ms: Likewise.
        cpu_s: Processor time an image, the server's and the contender's own.
        wire_mb: Over the loopback interface, an image.
        stages_ms: The contender's own parts, medians over the rounds.
        models: The server's counters.
    """

    throughput: float
    by_round: list[float]
    mean_ms: float
    p50_ms: float
    p99_ms: float
    cpu_s: float
    wire_mb: float
    stages_ms: dict[str, float]
    models: dict[str, ModelCounters]


def cell(samples: Sequence[Sample]) -> Cell:
    """Return what the rounds of one contender at one number in flight come to."""
    latency = LatencyHistogram()
    for sample in samples:
        for value_ms in sample.round.latencies_ms:
            latency.record_s(value_ms / 1000)
    images = len(latency)
    stages = dict.fromkeys(name for sample in samples for name in sample.round.stages_ms)
    return Cell(
        throughput=len(latency) / sum(sample.round.seconds for sample in samples),
        by_round=[sample.throughput for sample in samples],
        mean_ms=latency.mean_ms,
        p50_ms=latency.percentile_ms(50),
        p99_ms=latency.percentile_ms(99),
        cpu_s=sum(sample.server_cpu_s + sample.round.cpu_s for sample in samples) / images,
        wire_mb=sum(sample.wire_bytes for sample in samples) / images / 1e6,
        stages_ms={name: statistics.median(one.round.stages_ms[name] for one in samples) for name in stages},
        models=_added(samples),
    )


def _added(samples: Sequence[Sample]) -> dict[str, ModelCounters]:
    total: dict[str, ModelCounters] = {}
    for sample in samples:
        for name, counters in sample.models.items():
            total[name] = total.get(name, ModelCounters()) + counters
    return total
