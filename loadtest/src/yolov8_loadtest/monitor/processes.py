# SPDX-License-Identifier: Apache-2.0
"""Memory, open files and CPU time of processes on this machine, and the check for leaks."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

STUB = "triton_python_backend_stub"
_MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The usage of one process, or of several with one name, at a moment.

    Attributes:
        memory_mb: Resident memory.
        descriptors: Open files and sockets.
        cpu_s: CPU time since their start.
    """

    memory_mb: float
    descriptors: int
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceSample:
    """Usage by process name at one moment of a run, in seconds from its start."""

    at_s: float
    usage: dict[str, Usage]


def server_usage(pid: int) -> dict[str, Usage]:
    """Return the usage of a tritonserver and of each of its python stubs, by name; empty if it is gone."""
    return _usages((_server_name(process), process) for process in _tree(pid))


def generator_usage(pid: int | None = None) -> dict[str, Usage]:
    """Return the usage of a load generator and its workers together."""
    return _usages(("generator", process) for process in _tree(pid or os.getpid()))


def cpu_seconds(usage: dict[str, Usage]) -> float:
    """Return the CPU time of all processes together."""
    return sum(one.cpu_s for one in usage.values())


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _usages(named: Iterable[tuple[str, psutil.Process]]) -> dict[str, Usage]:
    usages: dict[str, Usage] = {}
    for name, process in named:
        try:
            with process.oneshot():
                cpu, memory, descriptors = process.cpu_times(), process.memory_info(), process.num_fds()
        except psutil.Error:
            continue  # the process has ended meanwhile
        before = usages.get(name, Usage(memory_mb=0.0, descriptors=0, cpu_s=0.0))
        usages[name] = Usage(
            memory_mb=before.memory_mb + memory.rss / _MB,
            descriptors=before.descriptors + descriptors,
            cpu_s=before.cpu_s + cpu.user + cpu.system,
        )
    return usages


def _server_name(process: psutil.Process) -> str:
    """Return the name for a server's process; a stub is named after the model that it runs."""
    try:
        command = process.cmdline()
    except psutil.Error:
        return "tritonserver"
    if not command or Path(command[0]).name != STUB:
        return "tritonserver"
    model = Path(command[1])  # REPOSITORY/MODEL/VERSION/model.py
    return f"stub {model.parts[-3]}" if len(model.parts) >= 3 else "stub"


WINDOW = 0.1
"""Share of the samples at either end whose median counts: single samples vary with the requests in flight."""
FEWEST_SAMPLES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessGrowth:
    """The usage of one process after the warm-up and at the end."""

    process: str
    memory_before_mb: float
    memory_after_mb: float
    descriptors_before: float
    descriptors_after: float

    @property
    def memory_ratio(self) -> float:
        """Growth of its memory as a ratio; below 0 if it shrank."""
        return self.memory_after_mb / self.memory_before_mb - 1 if self.memory_before_mb else math.nan

    @property
    def descriptors(self) -> float:
        """Growth of the number of its open files."""
        return self.descriptors_after - self.descriptors_before


def leak_check(samples: Sequence[ResourceSample], *, from_s: float, until_s: float) -> list[ProcessGrowth]:
    """Compare usage at both ends of a part of a run; return nothing where there are too few samples."""
    stretch = [sample for sample in samples if from_s <= sample.at_s <= until_s]
    if len(stretch) < FEWEST_SAMPLES:
        return []
    window = max(math.ceil(len(stretch) * WINDOW), 2)
    first, last = stretch[:window], stretch[-window:]
    names = sorted(set.intersection(*(set(sample.usage) for sample in (*first, *last))))
    return [_growth(name, [s.usage[name] for s in first], [s.usage[name] for s in last]) for name in names]


def _growth(name: str, first: list[Usage], last: list[Usage]) -> ProcessGrowth:
    return ProcessGrowth(
        process=name,
        memory_before_mb=statistics.median(usage.memory_mb for usage in first),
        memory_after_mb=statistics.median(usage.memory_mb for usage in last),
        descriptors_before=statistics.median(usage.descriptors for usage in first),
        descriptors_after=statistics.median(usage.descriptors for usage in last),
    )
