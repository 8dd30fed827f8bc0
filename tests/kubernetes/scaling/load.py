# SPDX-License-Identifier: Apache-2.0
"""Requests that come at random times at a given rate, however long their answers take."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable

import numpy as np
import tritonclient.grpc as triton

from tests.kubernetes.drain.__main__ import picture

SEED = 7
PROFILES: dict[str, tuple[tuple[float, float], ...]] = {
    "ramp": ((0, 1.0), (60, 1.0), (900, 4.5), (1020, 4.5), (1440, 1.0)),
    "steep": ((0, 1.0), (120, 1.0), (480, 4.5), (600, 4.5), (720, 1.0), (1140, 1.0)),
    "spike": ((0, 1.0), (120, 1.0), (120, 4.0), (360, 4.0), (360, 1.0), (840, 1.0)),
    "flapping": tuple(
        (60.0 * minute + end, 1.0 if minute % 2 == 0 else 2.6) for minute in range(14) for end in (0.0, 60.0)
    ),
}
"""Seconds, and the load at that time in multiples of what one pod can answer; between them it changes evenly."""


def load_at(profile: tuple[tuple[float, float], ...], now_s: float) -> float:
    """Return a profile's load at a time."""
    return float(np.interp(now_s, [at for at, _ in profile], [load for _, load in profile]))


class Callers:
    """A thread that sends a request whenever one is due; nobody waits for an answer before the next request.

    The client is Triton's, which retries nothing: a refused request is counted as one without an answer.
    """

    def __init__(self, url: str, model: str, rate: Callable[[], float]) -> None:
        """Begin to call a model ``rate()`` times a second."""
        self._client, self._model, self._rate = triton.InferenceServerClient(url), model, rate
        image = np.frombuffer(picture(), np.uint8)[None]
        self._tensor = triton.InferInput("image", list(image.shape), "UINT8")
        self._tensor.set_data_from_numpy(image)
        self._client.infer(model, [self._tensor])
        self._latencies: list[float] = []
        self._over, self._lock = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        gaps, due = random.Random(SEED), time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            self._send()
            due += gaps.expovariate(self._rate())

    def _send(self) -> None:
        start = time.monotonic()

        def answered(result: triton.InferResult | None, error: Exception | None) -> None:
            del result  # the client names both
            with self._lock:
                self._latencies.append(math.inf if error else time.monotonic() - start)

        self._client.async_infer(self._model, [self._tensor], answered)

    def take(self) -> list[float]:
        """Return the latencies in seconds since the last call; those of refused requests are infinite."""
        with self._lock:
            taken, self._latencies = self._latencies, []
        return taken

    def stop(self) -> None:
        """Send no more."""
        self._over.set()
        self._thread.join()
