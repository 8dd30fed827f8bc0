# SPDX-License-Identifier: Apache-2.0
"""The system under test: LoadGen hands it images by their numbers, and threads ask for the answers."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from yolov8_loadtest.errors import LoadTestError, PreparationError
from yolov8_loadtest.mlperf.accuracy import COLUMNS

Answer = Callable[[int, bytes], Any]
"""Takes an image's number and its bytes, and returns its objects as rows; threads call it at the same time."""

_FIRST = 3
"""Images that are asked about before latency is estimated."""


def loadgen_module() -> Any:
    """Return the module ``mlperf_loadgen``.

    Raises:
        PreparationError: It is not installed.
    """
    try:
        import mlperf_loadgen  # type: ignore[import-not-found,unused-ignore]
    except ImportError as exc:
        raise PreparationError("LoadGen is missing: install yolov8-triton-loadtest[mlperf]") from exc
    return mlperf_loadgen


@dataclass
class Failures:
    """Images without an answer; LoadGen itself would count them as answered."""

    count: int = 0
    first: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, error: Exception) -> None:
        """Count an image, and keep the first error's text."""
        with self._lock:
            self.count += 1
            self.first = self.first or f"{type(error).__name__}: {error}"


class System:
    """Threads that answer LoadGen's queries about some images.

    Args:
        loadgen: The module ``mlperf_loadgen``.
        images: The images.
        answer: Answers for one image.
        in_flight: Number of threads, each of which waits for one answer.
    """

    def __init__(self, loadgen: Any, images: Sequence[Path], answer: Answer, in_flight: int) -> None:
        self._loadgen, self._answer, self._in_flight = loadgen, answer, in_flight
        self._images = [image.read_bytes() for image in images]
        self._waiting: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()

    def estimate(self, seconds: float = 2.0) -> tuple[float, float]:
        """Return the latency of an image alone in seconds, and the images a second with many in flight.

        Raises:
            LoadTestError: An image is not answered.
        """
        latencies = []
        for number in range(2 * _FIRST):
            began = time.perf_counter()
            self._try(number)
            latencies.append(time.perf_counter() - began)
        end, counts = time.perf_counter() + seconds, [0] * self._in_flight

        def ask(thread: int) -> None:
            while time.perf_counter() < end:
                self._try(thread + counts[thread])
                counts[thread] += 1

        self._in_threads(ask)
        return float(np.median(latencies[_FIRST:])), max(sum(counts), 1) / seconds

    def _try(self, number: int) -> None:
        image = number % len(self._images)
        try:
            self._answer(image, self._images[image])
        except Exception as exc:
            raise LoadTestError(f"a first image is not answered: {exc}") from exc

    def _in_threads(self, work: Callable[[int], None]) -> None:
        errors: list[Exception] = []

        def guarded(number: int) -> None:
            try:
                work(number)
            except LoadTestError as exc:
                errors.append(exc)

        threads = [threading.Thread(target=guarded, args=(number,)) for number in range(self._in_flight)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]

    def run(self, settings: Any, folder: Path) -> Failures:
        """Let LoadGen run a scenario, and write its logs into a folder.

        Args:
            settings: LoadGen's settings.
            folder: An existing folder.
        """
        failures = Failures()
        threads = [threading.Thread(target=self._work, args=(failures,)) for _ in range(self._in_flight)]
        for thread in threads:
            thread.start()
        library = self._loadgen.ConstructQSL(len(self._images), len(self._images), _nothing, _nothing)
        system = self._loadgen.ConstructSUT(self._issue, _nothing)
        try:
            self._loadgen.StartTestWithLogSettings(system, library, settings, self._logs(folder))
        finally:
            for _ in threads:
                self._waiting.put(None)
            for thread in threads:
                thread.join()
            self._loadgen.DestroySUT(system)
            self._loadgen.DestroyQSL(library)
        return failures

    def _logs(self, folder: Path) -> Any:
        logs = self._loadgen.LogSettings()
        logs.log_output.outdir = str(folder)
        logs.log_output.copy_summary_to_stdout = False
        logs.enable_trace = False
        return logs

    def _issue(self, samples: Sequence[Any]) -> None:
        for sample in samples:
            self._waiting.put((sample.id, sample.index))

    def _work(self, failures: Failures) -> None:
        nothing = np.empty((0, COLUMNS), np.float32)
        while (sample := self._waiting.get()) is not None:
            identifier, image = sample
            try:
                rows = np.ascontiguousarray(self._answer(image, self._images[image]), np.float32)
            except Exception as exc:  # noqa: BLE001  (LoadGen waits for every image; the error is reported)
                failures.add(exc)
                rows = nothing
            response = self._loadgen.QuerySampleResponse(identifier, rows.ctypes.data, rows.nbytes)
            self._loadgen.QuerySamplesComplete([response])


def _nothing(*_: object) -> None:
    """All images are in memory, and no queries are held back."""
