# SPDX-License-Identifier: Apache-2.0
"""What a rollout does to callers: a model is loaded, compared, promoted and rolled back at 0.8 of the peak load.

    python -m tests.benchmarks.rollout [--rounds 3] [--share 0.1] [--load 0.8]

The server is real, with this project's small detector at 160 px. The new model is the old one with the biases of its
scores moved a little: a canary takes it for equal, and each answer tells which of the two gave it. Requests arrive at a
fixed rate, whether earlier ones are answered or not. Server, load and canary share the machine.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch

from tests.data import shapes
from yolov8_export import Deployment, Target, export
from yolov8_server import TritonServer
from yolov8_triton import Canary, Client, Detections, ModelControl, ServerOverloadedError, YoloTritonError

WEIGHTS = Path(__file__).parents[1] / "data" / "shapes-detect.pt"
OLD, NEW, KEY = "shapes-detect", "shapes-next", "drill"
MOVED_BIAS = 0.02
"""Moves a score by at most a quarter of it, half of the canary's limit."""
IMAGES, CALLERS, BUSY_TRIES = 16, 4, 4
WARM_S, PEAK_S, REST_S, VERDICT_S = 3.0, 8.0, 3.0, 180.0
WAITING = 256
"""Requests that may be in flight at once; beyond, the load isn't open any more, and the round fails."""
TIMEOUT_S = 30.0
ROLLBACK_S = 5.0
LATE_S = 1.0
"""Longest time to an answer before the rollout begins; beyond, a round would measure other programs."""

Ask = Callable[[bytes], Detections]


@dataclass(frozen=True, slots=True)
class Call:
    """One request: when it was due and answered (monotonic seconds), by which model or its error, and the phase."""

    due: float
    done: float
    by: Literal["old", "new"] | YoloTritonError
    phase: str


def moved(weights: Path, target: Path) -> None:
    """Write a checkpoint whose scores differ a little, so that its answers can be told from the old model's."""
    checkpoint = torch.load(weights, map_location="cpu", weights_only=False)
    for branch in checkpoint["model"].model[-1].cv3:
        branch[-1].bias.data += MOVED_BIAS
    torch.save(checkpoint, target)


def pictures(count: int) -> list[bytes]:
    """Return scenes as files."""
    drawn = (shapes.scene(seed, "detect", size=(160, 240)).image for seed in range(count))
    return [cv2.imencode(".png", image)[1].tobytes() for image in drawn]


def peak(ask: Ask, images: Sequence[bytes]) -> float:
    """Return how many answers a second callers get that ask again and again."""
    answers = [0] * CALLERS
    begin = time.monotonic()

    def call(number: int) -> None:
        while (now := time.monotonic()) < begin + WARM_S + PEAK_S:
            with suppress(ServerOverloadedError):
                ask(images[answers[number] % len(images)])
                answers[number] += now >= begin + WARM_S

    with ThreadPoolExecutor(CALLERS) as pool:
        list(pool.map(call, range(CALLERS)))
    return sum(answers) / PEAK_S


class Load:
    """Requests at a fixed rate, from a thread; ``ask`` may be exchanged meanwhile."""

    def __init__(self, ask: Ask, images: Sequence[bytes], rate: float) -> None:
        self.ask, self.calls, self.full, self.phase = ask, list[Call](), 0, "before"
        self._images, self._rate, self._scores = images, rate, list[tuple[Any, Any]]()
        self._end = threading.Event()
        self._free = threading.Semaphore(WAITING)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def know(self, old: Ask, new: Ask) -> None:
        """Learn the models' scores, by which their answers are told apart."""
        self._scores = [(old(image).confidence, new(image).confidence) for image in self._images]
        assert all(len(one) == len(other) > 0 for one, other in self._scores)

    def first(self, by: str, since: float) -> float:
        """Wait for the first answer of a model after a time; return when it came."""
        while time.monotonic() < since + VERDICT_S:
            for call in reversed(self.calls[-WAITING:]):
                if call.by == by and call.done > since:
                    return min(one.done for one in self.calls[-2 * WAITING :] if one.by == by and one.done > since)
            time.sleep(0.002)
        raise SystemExit(f"no answer of the {by} model within {VERDICT_S:g} s")

    def _run(self) -> None:
        begin = time.monotonic()
        with ThreadPoolExecutor(WAITING) as pool:
            for number in itertools.count():
                due = begin + number / self._rate
                if self._end.wait(max(due - time.monotonic(), 0)):
                    break
                self.full += not self._free.acquire(blocking=False) and self._free.acquire()
                pool.submit(self._call, number % len(self._images), due)

    def _call(self, index: int, due: float) -> None:
        try:
            by: Any = self._by(index, self.ask(self._images[index]))
        except YoloTritonError as exc:
            by = exc
        finally:
            self._free.release()
        self.calls.append(Call(due, time.monotonic(), by, self.phase))

    def _by(self, index: int, found: Detections) -> Literal["old", "new"]:
        if not self._scores:
            return "old"
        away = [
            float(np.abs(scores - found.confidence).max()) if len(scores) == len(found) else np.inf
            for scores in self._scores[index]
        ]
        return "old" if away[0] <= away[1] else "new"


@contextmanager
def timed(load: Load, times: dict[str, float], name: str) -> Iterator[None]:
    load.phase, begin = name, time.monotonic()
    yield
    times[name] = time.monotonic() - begin


def is_too_much(load: Load) -> bool:
    """Return whether the load alone is answered late or not at all: other programs have taken the machine meanwhile."""
    late = [call.done - call.due for call in load.calls]
    return not late or max(late) > LATE_S or any(isinstance(call.by, YoloTritonError) for call in load.calls)


def drill(url: str, images: Sequence[bytes], options: argparse.Namespace) -> bool | None:
    """Run one round, print its line, and say whether nothing was lost and the way back was short; None if busy."""
    times: dict[str, float] = {}
    with (
        ModelControl(url, key=KEY) as control,
        Client(url, model=OLD, timeout_s=TIMEOUT_S) as old,
        Client(url, model=NEW, timeout_s=TIMEOUT_S) as new,
    ):
        most = peak(old.detect, images)
        with Load(old.detect, images, options.load * most) as load:
            time.sleep(REST_S)
            if is_too_much(load):
                print(f"peak {most:.0f}/s, but the machine is busy: load {os.getloadavg()[0]:.1f}", flush=True)
                return None
            with timed(load, times, "load"):
                control.load(NEW)
            load.know(old.detect, new.detect)
            verdict = threading.Event()
            with Canary(old, new, share=options.share, on_verdict=lambda _: verdict.set()) as canary:
                load.ask = canary.detect
                with timed(load, times, "canary"):
                    verdict.wait(VERDICT_S)
                load.ask = old.detect
            load.phase, promoted = "promotion", time.monotonic()
            control.promote(OLD, NEW)
            times["promotion"] = load.first("new", promoted) - promoted
            time.sleep(REST_S)
            load.phase, decided = "rollback", time.monotonic()
            control.roll_back(OLD)
            times["rollback"] = load.first("old", decided) - decided
            time.sleep(REST_S)
        control.unload(NEW)
    return shown(load, most, times, canary.report(), decided)


def shown(load: Load, most: float, times: dict[str, float], report: Any, decided: float) -> bool:
    """Print what happened; return whether it may happen to callers."""
    calls = sorted(load.calls, key=lambda call: call.done)
    errors = [call.by for call in calls if isinstance(call.by, YoloTritonError)]
    phases = Counter(call.phase for call in calls if isinstance(call.by, YoloTritonError))
    gap = max(after.done - before.done for before, after in itertools.pairwise(calls))
    late = np.array([call.done - call.due for call in calls]) * 1000
    last_new = max((call.done for call in calls if call.by == "new"), default=decided) - decided
    rate = len(calls) / (calls[-1].due - calls[0].due)
    took = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in times.items())
    print(
        f"peak {most:.0f}/s, load {rate:.0f}/s, {len(calls)} requests, {len(errors)} errors {dict(phases)}, "
        f"waited for a free request {load.full} times; "
        f"{took}; last answer of the new model {last_new:.2f} s after the decision; longest gap {gap:.2f} s; "
        f"latency p50 {np.percentile(late, 50):.0f} ms, p99 {np.percentile(late, 99):.0f} ms, most {late.max():.0f} ms;"
        f" canary: {report.verdict} after {report.images} images, {report.dropped} dropped; machine load "
        f"{os.getloadavg()[0]:.1f}",
        flush=True,
    )
    for error in errors[:3]:
        print(f"  {error!r}", flush=True)
    return not errors and not load.full and report.verdict == "promote" and times["rollback"] < ROLLBACK_S


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--share", type=float, default=0.1, help="share of the requests that the new model gets, too")
    parser.add_argument("--load", type=float, default=0.8, help="load, as a share of the peak")
    options = parser.parse_args()
    if options.rounds < 1 or not 0 < options.share <= 1 or not 0 < options.load <= 1:
        parser.error("expected --rounds of 1 or more, and --share and --load above 0 and at most 1")
    with tempfile.TemporaryDirectory() as folder:
        repository, weights = Path(folder) / "repository", Path(folder) / "next.pt"
        export(WEIGHTS, Target(repository=repository, name=OLD), deployment=Deployment())
        with TritonServer(repository, model_control=True, admin_key=KEY) as server:
            moved(WEIGHTS, weights)
            export(weights, Target(repository=repository, name=NEW), deployment=Deployment())
            sound: list[bool] = []
            for _ in range(BUSY_TRIES * options.rounds):
                done = drill(server.grpc_url, pictures(IMAGES), options)
                sound += [] if done is None else [done]
                if len(sound) == options.rounds:
                    break
    if len(sound) < options.rounds:
        raise SystemExit(f"the machine was too busy: {len(sound)} of {options.rounds} rounds")
    raise SystemExit(None if all(sound) else "a round lost requests, was not promoted, or was slow to go back")


if __name__ == "__main__":
    main()
