# SPDX-License-Identifier: Apache-2.0
"""Many cameras on one client: the age of answers, fairness, what broken cameras do to the others, and memory.

    python -m tests.benchmarks.cameras [--cameras 16] [--fps 5] [--rounds 3] [--seconds 20] [--memory MINUTES]

The server is real; its network takes a fixed time and is no more than that, so what is measured is the hub, the client,
and the server's decoding. Rounds alternate between sound cameras alone, and the same with a dead one and one that
stalls. Frames are small, since encoding and decoding 80 large ones a second would fill two cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from tests.fixed_time import replace_network
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer
from yolov8_triton import Camera, Client, Line, RetryPolicy, VideoError, VideoInfo, Zone, hub

NAME = "cameras"
DATA = Path(__file__).parents[1] / "data"
SIZE = (180, 320)
WARM_S = 3.0
SAMPLE_S = 10.0
SETTLE_SHARE = 0.25
"""The first part of the memory run, in which buffers and threads get their size."""
AGE_LIMIT_S, FAIRNESS_LIMIT, CHANGE_LIMIT = 0.25, 0.95, 0.05
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Drawn:
    """A camera of a fixed rate; after some frames it may stall for a time, and then fail."""

    def __init__(self, fps: float, phase_s: float, seed: int, *, stall_after: int | None = None) -> None:
        self.info = VideoInfo(width=SIZE[1], height=SIZE[0], fps=fps, live=True)
        drawn = np.random.default_rng(seed).integers(0, 256, (9, 16, 3), np.uint8)
        self._picture = np.kron(drawn, np.ones((20, 20, 1), np.uint8))
        self._fps, self._stall_after = fps, stall_after
        self._begin, self._read = time.monotonic() + phase_s, 0

    def read(self) -> Any:
        if self._stall_after is not None and self._read >= self._stall_after:
            time.sleep(3)
            raise VideoError("no frame for 3 s: the source has stalled")
        time.sleep(max(self._begin + self._read / self._fps - time.monotonic(), 0.0))
        self._read += 1
        return (self._read - 1) / self._fps, self._picture.copy()

    def close(self) -> None:
        pass


def dead() -> Drawn:
    raise OSError("no route to host")


def sound(count: int, fps: float, *, areas: int = 0) -> list[Camera]:
    """Return cameras whose frames are spread over a period; some have a tracker, a zone and a line."""
    zone = Zone(name="middle", points=[(80, 40), (240, 40), (240, 170), (80, 170)])
    line = Line(name="door", start=(160, 0), end=(160, 180))
    more: Any = {"tracker": "bytetrack", "zones": [zone], "lines": [line]}
    return [
        Camera(
            name=f"camera {number}",
            source=lambda number=number: Drawn(fps, number / count / fps, number),  # type: ignore[misc]
            **(more if number < areas else {}),
        )
        for number in range(count)
    ]


def broken(fps: float) -> list[Camera]:
    return [
        Camera(name="dead", source=dead),
        Camera(name="stalling", source=lambda: Drawn(fps, 0, 99, stall_after=10)),
    ]


def round_of(client: Client, cameras: list[Camera], seconds: float) -> tuple[Counter[str], list[float]]:
    """Return the number of answers by camera, and their ages, after the first seconds."""
    answered: Counter[str] = Counter()
    ages: list[float] = []
    with hub(client.detect, cameras) as frames:
        begin = time.monotonic()
        for frame in frames:
            if (past_s := time.monotonic() - begin) > WARM_S + seconds:
                break
            if past_s > WARM_S and frame.camera.startswith("camera") and frame.error is None:
                answered[frame.camera] += 1
                ages.append(frame.age_s)
    return answered, ages


def jain(values: list[int]) -> float:
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


def compare(client: Client, options: argparse.Namespace) -> bool:
    """Take both kinds of rounds in turn, print a line for each, and say whether the limits are kept."""
    rates: dict[str, list[float]] = {"sound": [], "with broken": []}
    medians: dict[str, list[float]] = {"sound": [], "with broken": []}
    every: list[float] = []
    fairness: list[float] = []
    for _ in range(options.rounds):
        for kind in rates:
            cameras = sound(options.cameras, options.fps) + (broken(options.fps) if kind == "with broken" else [])
            answered, ages = round_of(client, cameras, options.seconds)
            each = [answered[f"camera {number}"] for number in range(options.cameras)]
            rates[kind].append(sum(each) / options.seconds)
            medians[kind].append(statistics.median(ages))
            every += ages
            fairness.append(jain(each))
            p50, p95 = np.percentile(ages, (50, 95)) * 1000
            print(
                f"{kind:12}{rates[kind][-1]:7.1f} answers/s  age p50 {p50:5.0f} ms  p95 {p95:5.0f} ms  "
                f"Jain {fairness[-1]:.4f}  load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    change = abs(statistics.median(rates["with broken"]) / statistics.median(rates["sound"]) - 1)
    later = statistics.median(medians["with broken"]) / statistics.median(medians["sound"]) - 1
    p95 = float(np.percentile(every, 95))
    kept = p95 <= AGE_LIMIT_S and min(fairness) >= FAIRNESS_LIMIT and change < CHANGE_LIMIT
    print(f"age p95 {1000 * p95:.0f} ms (limit 250), Jain at least {min(fairness):.4f} (limit 0.95)")
    print(f"broken cameras change the others' rate by {change:.1%} (limit 5 %), their median age by {later:+.1%}")
    print("pass" if kept else "FAIL")
    return kept


def memory(client: Client, options: argparse.Namespace) -> None:
    """Run all kinds of cameras for a while and print the slope of this process's memory."""
    samples: list[tuple[float, float]] = []
    cameras = sound(options.cameras, options.fps, areas=4) + broken(options.fps)
    reconnect = RetryPolicy(first_pause_s=0.2, longest_pause_s=1.0)
    count, begin = 0, time.monotonic()
    with hub(client.detect, cameras, reconnect=reconnect) as frames:
        for _ in frames:
            count += 1
            now = time.monotonic() - begin
            if now >= len(samples) * SAMPLE_S:
                samples.append((now / 60, resident_mib()))
                if len(samples) % 12 == 1:
                    place = f"{threading.active_count()} threads, {len(os.listdir('/proc/self/fd'))} files"  # noqa: PTH208
                    print(f"{now / 60:5.1f} min {samples[-1][1]:7.1f} MiB {count:7} frames {place}", flush=True)
            if now > options.memory * 60:
                break
        reconnects = frames.statistics()["stalling"].reconnects
    settled = [sample for sample in samples if sample[0] >= SETTLE_SHARE * options.memory]
    slope, _ = np.polyfit(*zip(*settled, strict=True), 1)
    least, most = min(one for _, one in settled), max(one for _, one in settled)
    print(f"{options.memory:g} min, {count} frames, {reconnects} reconnects; after the first {SETTLE_SHARE:.0%}:")
    print(f"{60 * slope:+.2f} MiB an hour, between {least:.1f} and {most:.1f} MiB")


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES / 2**20


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cameras", type=int, default=16)
    parser.add_argument("--fps", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each kind; 0 for the memory alone")
    parser.add_argument("--seconds", type=float, default=20.0, help="a round's")
    parser.add_argument("--network-ms", type=float, default=5.0)
    parser.add_argument("--memory", type=float, metavar="MINUTES", help="run for so long and print the memory's slope")
    options = parser.parse_args()
    kept = True
    with tempfile.TemporaryDirectory(prefix="cameras-") as folder:
        repository = Path(folder) / "repository"
        export(DATA / "shapes-detect.pt", Target(repository=repository, name=NAME))
        replace_network(repository, NAME, seconds=options.network_ms / 1000)
        with TritonServer(repository) as server, Client(server.grpc_url, model=NAME) as client:
            client.detect(np.zeros((*SIZE, 3), np.uint8), channels="BGR")
            if options.rounds:
                kept = compare(client, options)
            if options.memory:
                memory(client, options)
    raise SystemExit(0 if kept else 1)


if __name__ == "__main__":
    main()
