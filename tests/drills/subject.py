# SPDX-License-Identifier: Apache-2.0
"""The server that a drill attacks, what watches it, and the neighbour whose calls must not be lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.integration.server.traces import children
from yolov8_triton import Client, YoloTritonError

READY_WITHIN_S = 60.0
HEALTH_TIMEOUT_S = 1.0
ANSWER_TIMEOUT_S = 2.0
"""An overloaded server answers callers with this deadline, or refuses them within it."""
PROBE_EVERY_S = 0.1
CALLERS = 2
PAUSE_S = 0.02
_RESTART = re.compile(r"tritonserver: (?P<why>.*); starting it again", re.MULTILINE)
_STUB = "triton_python_b"


class Subject:
    """A running ``yolov8-server``."""

    def __init__(self, repository: Path, folder: Path, model: str, image: bytes, *options: str) -> None:
        folder.mkdir(parents=True)
        self.model, self.image, self._said = model, image, folder / "stderr"
        self.suspended = False
        with self._said.open("w") as stderr:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "yolov8_server", str(repository), "--grpc-port=0", "--http-port=0"),
                    *("--metrics-port=0", "--restarts=50", f"--log-file={folder / 'log'}", *options),
                ],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        assert self.process.stdout is not None
        lines = [self.process.stdout.readline().split() for _ in range(4)]
        self.grpc_url, self.http_url = lines[0][1], lines[1][1]

    def __enter__(self) -> Subject:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=READY_WITHIN_S)

    def restarts(self) -> list[str]:
        """Return why the server was started again, once for each time."""
        return _RESTART.findall(self._said.read_text())

    def pid(self) -> int | None:
        """Return the process ID of tritonserver; None while there is none."""
        for supervisor, _ in children(self.process.pid):
            for server, name in children(supervisor):
                if name.startswith("tritonserver"):
                    return server
        return None

    def stubs(self) -> list[int]:
        """Return the process IDs of the python models."""
        server = self.pid()
        return [] if server is None else [pid for pid, name in children(server) if name == _STUB]

    def memory_mib(self) -> int:
        """Return the memory that the server and its models hold, in MiB."""
        total = 0
        for pid in [self.pid(), *self.stubs()]:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1])  # type: ignore[index]
        return total // 1024

    def says_ready(self) -> bool:
        """Return what the server says of its health."""
        try:
            return bool(urlopen(f"http://{self.http_url}/v2/health/ready", timeout=HEALTH_TIMEOUT_S).status == 200)
        except (URLError, OSError):
            return False

    def request(self, **changes: Any) -> pb.ModelInferRequest:
        """Return a request for the image."""
        image = changes.pop("image", self.image)
        message = pb.ModelInferRequest(model_name=self.model, **changes)
        message.inputs.add(name="image", datatype="UINT8", shape=[1, len(image)])
        message.raw_input_contents.append(image)
        return message

    @contextmanager
    def stub(self) -> Iterator[service_pb2_grpc.GRPCInferenceServiceStub]:
        """Yield a stub on a connection of its own."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(self.grpc_url, options=options) as channel:
            yield service_pb2_grpc.GRPCInferenceServiceStub(channel)

    def works(self, timeout_s: float = ANSWER_TIMEOUT_S) -> bool:
        """Return whether the server answers a request, or says in a legal way that it is overloaded."""
        with self.stub() as stub:
            try:
                stub.ModelInfer(self.request(), timeout=timeout_s)
            except grpc.RpcError as exc:
                return "queue size" in exc.details() or "timeout expired" in exc.details()
            return True

    def wait_until_back(self) -> float:
        """Wait until the server is ready and works; return the seconds that it took."""
        began = time.monotonic()
        while not (self.says_ready() and self.works(5.0)):
            if time.monotonic() - began > READY_WITHIN_S:
                ready = "says that it is ready" if self.says_ready() else "says that it is not ready, or nothing"
                raise TimeoutError(
                    f"the server did not come back within {READY_WITHIN_S:g} s: it {ready}, and last wrote\n"
                    + self._said.read_text()[-2000:]
                )
            time.sleep(PROBE_EVERY_S)
        return time.monotonic() - began


@dataclass
class Watch:
    """Probes a server: how long at most it was away, and how long its health said something else than its answers."""

    subject: Subject
    longest_outage_s: float = 0.0
    longest_lie_s: float = 0.0
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._probe)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _probe(self) -> None:
        away_since: float | None = None
        lies_since: float | None = None
        while not self._over.wait(PROBE_EVERY_S):
            now = time.monotonic()
            said, works = self.subject.says_ready(), self.subject.works()
            if self.subject.suspended:  # what stands still as a whole can neither answer nor say so
                away_since = lies_since = None
                continue
            away_since = None if works else away_since or now
            lies_since = (lies_since or now) if said and not works else None
            if away_since is not None:
                self.longest_outage_s = max(self.longest_outage_s, time.monotonic() - away_since)
            if lies_since is not None:
                self.longest_lie_s = max(self.longest_lie_s, time.monotonic() - lies_since)


@dataclass
class Neighbour:
    """Callers of the client who know two servers, of which one is attacked."""

    client: Client
    image: bytes
    answers: int = 0
    errors: list[YoloTritonError] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _noting: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Neighbour:
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        while not self._over.wait(PAUSE_S):
            try:
                self.client.detect(self.image)
            except YoloTritonError as exc:  # noqa: PERF203  (the error is an outcome)
                with self._noting:
                    self.errors.append(exc)
            else:
                with self._noting:
                    self.answers += 1


def pause(pids: list[int], seconds: float) -> None:
    """Stop processes for some seconds; those that end meanwhile are passed over."""
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:  # noqa: PERF203  (it has ended)
                continue
        time.sleep(seconds if number == signal.SIGSTOP else 0)
