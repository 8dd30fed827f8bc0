# SPDX-License-Identifier: Apache-2.0
"""Servers that start and stop as pods do."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.integration.server.traces import children
from yolov8_server import TritonServer


@dataclass(frozen=True, kw_only=True)
class Drain:
    """The chart's times of a stopping pod, in seconds, and how late a gateway hears of one."""

    pre_stop_s: float
    exit_s: float
    heard_after_s: float


class Pods:
    """Servers of which one at a time is replaced: the new one is ready before the old one stops.

    Args:
        repository: The models.
        drain: The times of a stopping pod.
        ports: One port more than there are pods; a new pod takes the free one.
        admit: Gets the ports of the endpoints after each change.
    """

    def __init__(
        self, repository: Path, drain: Drain, ports: Iterable[int], admit: Callable[[Iterable[int]], None]
    ) -> None:
        self._repository, self._drain, self._admit = repository, drain, admit
        self._free = list(ports)
        self._running: dict[int, TritonServer] = {}
        self._endpoints: list[int] = []
        self._timers: list[threading.Timer] = []

    @property
    def endpoints(self) -> tuple[int, ...]:
        """The ports of the pods that are endpoints."""
        return tuple(self._endpoints)

    def start(self) -> None:
        """Start a pod, wait until it is ready, and make it an endpoint."""
        port = self._free.pop(0)
        server = TritonServer(self._repository, grpc_port=port, stop_timeout_s=self._drain.exit_s)
        server.start()
        self._running[port] = server
        self._endpoints.append(port)
        self._admit(self.endpoints)

    def replace(self, port: int) -> None:
        """Replace a pod as a Deployment without unavailable pods does."""
        self.start()
        self._endpoints.remove(port)
        heard = threading.Timer(self._drain.heard_after_s, self._admit, [self.endpoints])
        heard.start()  # at the same moment, the kubelet begins with preStop
        self._timers.append(heard)
        time.sleep(self._drain.pre_stop_s)
        self._running.pop(port).stop()
        self._free.append(port)

    def kill(self, port: int) -> None:
        """End a pod without notice, as a node that fails does; it stays an endpoint."""
        server = self._running.pop(port)
        pid = next(pid for pid, name in _below(os.getpid()) if name.startswith("tritonserver") and _listens(pid, port))
        os.kill(pid, signal.SIGKILL)
        server.stop()
        self._free.append(port)

    def stop(self) -> None:
        """Stop all of them."""
        for timer in self._timers:
            timer.join()
        for server in self._running.values():
            server.stop()


def _below(pid: int) -> Iterator[tuple[int, str]]:
    for child, name in children(pid):
        yield child, name
        yield from _below(child)


def _listens(pid: int, port: int) -> bool:
    return f"--grpc-port={port}".encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
