# SPDX-License-Identifier: Apache-2.0
"""Run all contenders in turn, round by round, so that a disturbance of the machine affects them alike."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yolov8_loadtest.benchmark.contender import Round
from yolov8_loadtest.errors import LoadTestError
from yolov8_loadtest.monitor.processes import cpu_seconds, server_usage
from yolov8_loadtest.monitor.server import ModelCounters, Snapshot, between, snapshot
from yolov8_loadtest.results.recorder import LatencyHistogram
from yolov8_triton.low_level import Connection

STOP_TIMEOUT_S = 20.0
# Ultralytics must neither install packages nor use the network while it is measured. The server has huge pages, so all
# that it is compared with have them.
ENVIRONMENT = {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


class ContenderError(LoadTestError):
    """A contender failed; its own error message is on standard error."""


def way_of(key: str) -> str:
    """Return the way to serve from a contender's key."""
    return key.partition(" ")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A program that turns photographs into detections in one of the ways to serve.

    Attributes:
        key: The way to serve, and after a blank its setting where several are tried: ``in-process 2x1``.
        label: Description for the tables.
        command: The program.
        model: The ensemble that it uses, whole or its network alone; None where it uses no server.
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

    def __exit__(self, *_: object) -> None:
        self.close()

    def warm_up(self, in_flight: int) -> None:
        """Warm the contender up with one image for each request that will be in flight."""
        self._order({"in_flight": in_flight})

    def round(self, in_flight: int, seconds: float) -> Round:
        """Run one round, warm-up first, and return its measurements."""
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
            pass  # the process has ended, so its standard output ends, too
        line = self._process.stdout.readline()
        if not line:
            raise ContenderError(f"{self.contender.label} ended with code {self._process.wait()} in the middle of it")
        answer: dict[str, Any] = json.loads(line)
        return answer


STATISTICS_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One round of one contender, with the counters of server and machine.

    Attributes:
        contender: The contender.
        in_flight: Number of requests in flight.
        round: The contender's own measurements.
        server_cpu_s: CPU time of the server.
        wire_bytes: Bytes that went over the loopback interface.
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
    """The contenders and rounds of a benchmark.

    Attributes:
        contenders: The contenders, in the order of the tables.
        in_flight: Numbers of requests in flight, measured one after the other.
        rounds: Number of rounds of each contender.
        seconds: Length of a round.
    """

    contenders: Sequence[Contender]
    in_flight: Sequence[int]
    rounds: int
    seconds: float

    @property
    def duration_s(self) -> float:
        """Estimated length of the whole measurement."""
        return len(self.contenders) * len(self.in_flight) * self.rounds * (self.seconds + 0.5)


def measure(
    plan: Plan, images: Sequence[Path], *, url: str, server_pid: int | None, tell: Callable[[str], None]
) -> list[Sample]:
    """Measure all contenders.

    Args:
        plan: The contenders and rounds.
        images: Image files that all contenders are given.
        url: Address of the server that some contenders use.
        server_pid: The server's process, None if it is not on this machine.
        tell: Called with a line of progress after each round.

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
    """Return the contenders in another order each round, so that no one always follows the same one."""
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
    """Medians of all rounds of one contender with one number of requests in flight.

    Attributes:
        throughput: Images a second over all rounds.
        by_round: Images a second of each round.
        mean_ms: Mean latency of all images.
        p50_ms: Median latency.
        p99_ms: 99th percentile of latency.
        cpu_s: CPU time an image, of server and contender together.
        wire_mb: Megabytes an image over the loopback interface.
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
    """Summarize the rounds of one contender with one number of requests in flight."""
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
