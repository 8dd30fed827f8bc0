# SPDX-License-Identifier: Apache-2.0
"""Send requests, and read the processor time that each kind of process has taken for them."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolov8_triton.low_level import Connection, infer_request, read_result

STUB = "triton_python_backend_stub"
COUNTED = ("tritonserver", "check", "postprocess")
"""The processes that a server with a GPU has as well."""
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one round of requests has taken.

    Attributes:
        cpu_ms: Milliseconds of processor time an image, by process.
        images_per_s: Answers a second on the clock.
    """

    cpu_ms: dict[str, float]
    images_per_s: float

    @property
    def server_ms(self) -> float:
        """The processor time of all processes that a server with a GPU has as well."""
        return sum(self.cpu_ms[name] for name in COUNTED)


def measure(pid: int, url: str, model: str, image: bytes, *, requests: int, in_flight: int) -> Sample:
    """Send requests to one model, ``in_flight`` at a time, and return what they have taken."""
    message = infer_request(model, image, {})
    with Connection(url) as connection, ThreadPoolExecutor(in_flight) as pool:

        def send(_number: int) -> Any:
            return connection.infer(message, timeout_s=TIMEOUT_S)

        list(pool.map(send, range(in_flight)))
        before, start = cpu_seconds(pid, model), time.perf_counter()
        answers = list(pool.map(send, range(requests)))
        seconds, after = time.perf_counter() - start, cpu_seconds(pid, model)
        served = connection.served_models(timeout_s=TIMEOUT_S)[model]
        read_result(answers[-1], served, model)  # raises an error where the answer breaks the contract
    cpu_ms = {name: (after[name] - before[name]) / requests * 1e3 for name in after}
    return Sample(cpu_ms=cpu_ms, images_per_s=requests / seconds)


def cpu_seconds(pid: int, model: str) -> dict[str, float]:
    """Return the processor time of a tritonserver and of the python stubs of one of its ensembles, by role."""
    seconds = Counter({"tritonserver": _of_threads(pid)})
    for child in _children(pid):
        command = (Path("/proc") / str(child) / "cmdline").read_bytes().decode().split("\0")
        served = Path(command[1]).parts[-3] if Path(command[0]).name == STUB else ""
        if served.startswith(f"{model}_"):
            seconds[served.removeprefix(f"{model}_")] += _of_threads(child)
    return dict(seconds)


def _of_threads(pid: int) -> float:
    """Return the processor time of a process' threads; unlike /proc/PID/stat, it is exact to the nanosecond."""
    threads = (Path("/proc") / str(pid) / "task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def _children(pid: int) -> list[int]:
    threads = (Path("/proc") / str(pid) / "task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
