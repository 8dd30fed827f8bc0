# SPDX-License-Identifier: Apache-2.0
"""A video against the same frames as files, and the memory of a long run: one real server, one run.

    YOLOV8_VIDEO_DIR=... python -m tests.benchmarks.video yolov8n.pt [--rounds 5] [--frames 150] [--loops 2]

Rounds take both ways in turn, so that what else the machine does hits both alike: ``video`` decodes the clip, writes
each frame as JPEG and asks; ``detect_many`` is given the same frames, written as JPEG beforehand. The ratio of each
round counts, and the median of them. Then the whole clip runs some times over, each frame is counted, and the
process's memory is sampled.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
from PIL import Image
from rich.console import Console
from rich.table import Table

from tests.parity.deployment import Subject, export
from yolov8_server import TritonServer
from yolov8_triton import Client, video

NAME = "clip-model"
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SAMPLE_EVERY = 100
SETTLED_AFTER = 300
"""Frames after which buffers and threads have their size."""
QUALITY = {"quality": 95, "subsampling": "4:4:4"}
"""As the client writes pixels."""


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=150, help="a round's")
    parser.add_argument("--loops", type=int, default=2, help="how often the whole clip runs for the memory")
    parser.add_argument("--in-flight", type=int, default=8)
    options = parser.parse_args()
    (path, *_) = sorted(Path(os.environ["YOLOV8_VIDEO_DIR"]).glob("*.mp4"))
    with tempfile.TemporaryDirectory(prefix="video-") as folder:
        work = Path(folder)
        export(Subject("detect", options.weights, NAME), work / "repository")
        part, stills = written(path, work, options.frames)
        with TritonServer(work / "repository") as server, Client(server.grpc_url, model=NAME, timeout_s=60) as client:
            throughput(client, part, stills, options.rounds, options.in_flight)
            memory(client, path, options.loops, options.in_flight)


def written(path: Path, work: Path, count: int) -> tuple[Path, list[Path]]:
    """Write the first frames as a video of their own and as JPEG files."""
    capture = cv2.VideoCapture(str(path))
    part = work / "part.mp4"
    writer: Any = None
    stills = []
    for number in range(count):
        there, frame = capture.read()
        if not there:
            break
        if writer is None:
            size = (frame.shape[1], frame.shape[0])
            writer = cv2.VideoWriter(str(part), cv2.VideoWriter_fourcc(*"mp4v"), capture.get(cv2.CAP_PROP_FPS), size)
        writer.write(frame)
        stills.append(work / f"{number:05}.jpg")
        Image.fromarray(frame[..., ::-1].copy()).save(stills[-1], **QUALITY)
    writer.release()
    return part, stills


def throughput(client: Client, part: Path, stills: list[Path], rounds: int, in_flight: int) -> None:
    """Measure both ways in turn, and print the table."""

    def by_video() -> Iterator[Any]:
        return video(client.detect, part, in_flight=in_flight)

    def by_file() -> Iterator[Any]:
        return client.detect_many(stills, in_flight=in_flight)

    for answers in (by_video(), by_file()):  # the first runs set things up
        assert all(answer.error is None for answer in itertools.islice(answers, 3 * in_flight))
    table = Table("round", "video, frames/s", "files, images/s", "ratio", "video, CPU ms", "files, CPU ms")
    ratios = []
    for number in range(rounds):
        ways = [by_video, by_file] if number % 2 == 0 else [by_file, by_video]
        measured = {way: timed(way(), len(stills)) for way in ways}
        (rate, cpu_ms), (file_rate, file_cpu_ms) = measured[by_video], measured[by_file]
        ratios.append(rate / file_rate)
        table.add_row(
            str(number + 1),
            f"{rate:.1f}",
            f"{file_rate:.1f}",
            f"{ratios[-1]:.3f}",
            f"{cpu_ms:.1f}",
            f"{file_cpu_ms:.1f}",
        )
    Console().print(table)
    print(f"median ratio {statistics.median(ratios):.3f}, {in_flight} in flight, {len(stills)} frames a round")


def timed(answers: Iterator[Any], expected: int) -> tuple[float, float]:
    """Return answers a second, and this process's CPU milliseconds for each."""
    begin, cpu = time.perf_counter(), time.process_time()
    count = sum(answer.error is None for answer in answers)
    assert count == expected, f"{count} answers of {expected}"
    return count / (time.perf_counter() - begin), (time.process_time() - cpu) * 1000 / count


def memory(client: Client, path: Path, loops: int, in_flight: int) -> None:
    """Run the whole clip some times over; print what was answered, and the memory on the way."""
    samples: list[float] = []
    total = 0
    for _ in range(loops):
        with video(client.detect, path, in_flight=in_flight) as frames:
            indices = []
            for frame in frames:
                assert frame.error is None
                indices.append(frame.index)
                total += 1
                if total % SAMPLE_EVERY == 0 and total >= SETTLED_AFTER:
                    samples.append(resident_mb())
            assert indices == list(range(frames.info.frame_count or 0)), "a frame is missing, or twice"
    first, last, most = samples[0], samples[-1], max(samples)
    print(f"{total} frames in {loops} runs of {path.name}, each answered once and in order")
    print(
        f"resident memory: {first:.1f} MB after {SETTLED_AFTER} frames, {last:.1f} MB at the end, {most:.1f} MB at most"
    )


def resident_mb() -> float:
    """Return the process's resident memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES / 1e6


if __name__ == "__main__":
    main()
