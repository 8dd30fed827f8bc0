# SPDX-License-Identifier: Apache-2.0
"""Lend a request that is alone at the networks the cores of the instances that have nothing to do.

Several instances of one thread each have the highest throughput, but leave a lone request on one core. So each
instance holds a second session with as many threads as all instances of its model have together, and runs it while
no other instance of the server is busy, nor has been of late. A session's results don't depend on its number of
threads, to the bit.

The instances are processes. Each has a row in a file that they all map: the number of the process, whether it is busy,
and until when the server counts as shared. A process that ended while it was busy counts as idle.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

VARIABLE = "YOLOV8_BUSY_INSTANCES"
"""The server names the file in this environment variable; without it, no cores are lent."""

OpenSession = Callable[[ort.SessionOptions], ort.InferenceSession]
Run = Callable[[Sequence[str], Mapping[str, Any], ort.RunOptions], Sequence[Any]]
MAX_INSTANCES = 4096
_ROW = np.dtype([("process", np.int64), ("busy", np.int64), ("shared_until_s", np.float64)])
_CPU_ARENA = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
_SPINNING = "session.intra_op.allow_spinning"


class BusyInstances:
    """The instances of one server, and which of them are busy."""

    def __init__(self, path: Path) -> None:
        """Take a row of the file, which is created if need be.

        Raises:
            OSError: The file can't be written.
            RuntimeError: All rows are taken.
        """
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # two instances must not take the same row
            try:
                self._take_row(file.fileno())
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)  # the mapping keeps the file open, and so its lock

    def _take_row(self, file: int) -> None:
        if os.fstat(file).st_size == 0:
            os.ftruncate(file, MAX_INSTANCES * _ROW.itemsize)
        self._rows: Any = np.frombuffer(mmap.mmap(file, 0), _ROW)
        free = (number for number, row in enumerate(self._rows) if not _runs(int(row["process"])))
        if (own := next(free, None)) is None:
            raise RuntimeError(f"there is no room for more than {MAX_INSTANCES} instances")
        self._own = own
        self._rows[own] = os.getpid(), 0, 0.0

    @contextmanager
    def busy(self) -> Iterator[bool]:
        """Be busy in the block, which is told whether it is alone.

        It is if no other instance is busy at its start. After a run beside another one, for as long again as that run
        took, nobody is alone: of two callers that take turns, each would find the other one idle at times, and threads
        that are lent then have to share the cores.
        """
        row = self._rows[self._own]
        row["busy"] = 1  # before the look at the others: of two that start at once, neither may believe to be alone
        is_beside, start_s = self._is_beside_another(), time.monotonic()
        try:
            yield not is_beside and start_s > self._rows["shared_until_s"].max()
        finally:
            if is_beside:
                end_s = time.monotonic()  # the same clock in all processes
                row["shared_until_s"] = end_s + (end_s - start_s)
            row["busy"] = 0

    def _is_beside_another(self) -> bool:
        others = np.flatnonzero(self._rows["busy"])
        return any(_runs(int(self._rows["process"][number])) for number in others if number != self._own)


class LendingSession:
    """A session with few threads for each of several requests, and one with many for a request that is alone."""

    def __init__(self, own: ort.InferenceSession, wide: ort.InferenceSession, instances: BusyInstances) -> None:
        self._own, self._wide, self._instances = own, wide, instances

    def run(self, outputs: Sequence[str], feed: Mapping[str, Any], options: ort.RunOptions) -> Sequence[Any]:
        """Run one of the two sessions; arguments and result are those of `ort.InferenceSession.run`."""
        with self._instances.busy() as is_alone:
            found: Sequence[Any] = (self._wide if is_alone else self._own).run(outputs, feed, options)
        return found


def load(
    config: Mapping[str, Any], options: Callable[[], ort.SessionOptions], open_session: OpenSession
) -> tuple[ort.InferenceSession, Run]:
    """Load a network for the CPU.

    Args:
        config: The model's configuration.
        options: Returns new session options for the model.
        open_session: Loads the network with options.

    Returns:
        The session with the model's own options, and the function that runs the network.
    """
    own = options()
    path, threads = os.environ.get(VARIABLE), lendable_threads(config, own)
    if not path or not threads or not own.enable_cpu_mem_arena:
        session = open_session(own)
        return session, session.run
    # The sessions of one process never run at the same time, so they can use the same memory.
    ort.create_and_register_allocator(_CPU_ARENA, None)
    wide = options()
    wide.intra_op_num_threads = threads
    wide.add_session_config_entry(_SPINNING, "0")  # idle threads must not spin on cores that others need
    for each in (own, wide):
        each.add_session_config_entry("session.use_env_allocators", "1")
    session = open_session(own)
    return session, LendingSession(session, open_session(wide), BusyInstances(Path(path))).run


def lendable_threads(config: Mapping[str, Any], options: ort.SessionOptions) -> int:
    """Return the number of threads of a lone request: those of all instances, and at most one a core; 0 for no loan."""
    own = options.intra_op_num_threads
    together = min(own * _instances(config), len(os.sched_getaffinity(0)))
    return together if together > own and options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL else 0


def _instances(config: Mapping[str, Any]) -> int:
    return sum(int(group.get("count", 1)) for group in config.get("instance_group", []))


def _runs(process: int) -> bool:
    if not process:  # a row that nobody has taken yet
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, PermissionError):  # ended, and its number may be another user's now
        return False
    return True
