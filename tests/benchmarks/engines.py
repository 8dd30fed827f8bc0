# SPDX-License-Identifier: Apache-2.0
"""Throughput, latency and mAP of one network in each engine and precision that a CPU runs, served, in one run.

    YOLOV8_COCO_DIR=... python -m tests.benchmarks.engines yolov8n.pt [--variants FP32] [--calibrate 24] [--rounds 5]

The first images calibrate, the others measure. Rounds go round the variants, so that what else the machine does hits
all alike; figures are medians, and ratios to FP32 in ONNX Runtime count. Processor time is that of the server's
processes for an image. It needs the engines' packages, which build/tensorflow has (`make setup-tensorflow`), and nncf
for INT8.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from tests.parity.deployment import Subject, served
from tests.parity.evaluator import Evaluator
from yolov8_server import TritonServer
from yolov8_triton import Client

INT8, BF16 = ("--precision", "int8"), ("--precision", "bf16")
MANY_BYTES = ("--network-input", "fp32", "--network-output", "raw")
VARIANTS: dict[str, tuple[str, ...]] = {
    "ONNX Runtime FP32": MANY_BYTES,
    "ONNX Runtime FP32, few bytes": (),
    "ONNX Runtime INT8": (*INT8, *MANY_BYTES),
    "OpenVINO FP32": ("--network", "openvino", *MANY_BYTES),
    "OpenVINO BF16": ("--network", "openvino", *BF16, *MANY_BYTES),
    "OpenVINO BF16, few bytes": ("--network", "openvino", *BF16),
    "OpenVINO INT8": ("--network", "openvino", *INT8, *MANY_BYTES),
    "OpenVINO INT8, few bytes": ("--network", "openvino", *INT8),
    "OpenVINO INT8, 99 % kept": ("--network", "openvino", *INT8, "--keep-map", "0.99"),
    "PyTorch FP32": ("--network", "pytorch"),
    "TensorFlow FP32": ("--network", "tensorflow"),
    "TensorFlow FP32, uint8 input": ("--network", "tensorflow", "--network-input", "uint8"),
}
ANY_LOSS = ("--max-map-loss", "1")
"""Whatever comes out is measured here."""
EVALUATION = {"conf": 0.001, "iou": 0.6, "max_det": 300}
IN_FLIGHT = 4
IMAGES_A_ROUND = 24
CALLS_ALONE = 8


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--calibrate", type=int, default=24, help="images to calibrate with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--variants", default="", help="parts of the variants' titles, with commas; the default is all")
    options = parser.parse_args()
    coco = Path(os.environ["YOLOV8_COCO_DIR"])
    images = sorted((coco / "images").glob("*.jpg"))
    with tempfile.TemporaryDirectory(prefix="engines-") as folder:
        work = Path(folder)
        for name, paths in {"seen": images[: options.calibrate], "unseen": images[options.calibrate :]}.items():
            (work / name).mkdir()
            for path in paths:
                shutil.copy(path, work / name)
        parts = options.variants.split(",")
        chosen = {title: said for title, said in VARIANTS.items() if any(part in title for part in parts)}
        names = export(options.weights, work, coco / "instances.json", chosen)
        measure(names, work, sorted((work / "unseen").iterdir()), options.rounds)


def export(weights: Path, work: Path, truth: Path, variants: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Export each variant; return model names by title."""
    names = {}
    for index, (title, options) in enumerate(variants.items()):
        names[title] = f"v{index}"
        command = [sys.executable, "-m", "yolov8_export", "export", str(weights), "--name", f"v{index}", *options]
        command += ["--repository", str(work / "repository"), "--json"]
        if "int8" in options:
            command += ["--calibration", str(work / "seen")]
        if "--precision" in options:
            command += ["--evaluation", str(work / "unseen"), "--truth", str(truth), *ANY_LOSS]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{title}: {done.stdout}{done.stderr}")
        report = json.loads(done.stdout)
        print(f"{title}: {report['accuracy'] or 'as exported'}")
    return names


def measure(names: dict[str, str], work: Path, images: Sequence[Path], rounds: int) -> None:
    """Serve all variants, measure them in turn, print the table."""
    rate: dict[str, list[float]] = {title: [] for title in names}
    alone: dict[str, list[float]] = {title: [] for title in names}
    spent: dict[str, list[float]] = {title: [] for title in names}
    contents = [path.read_bytes() for path in images]
    with TritonServer(work / "repository", ready_timeout_s=300) as server:
        for title, name in names.items():  # the first runs set things up
            timed(server.grpc_url, name, contents[:4], 1)
            del title
        for _ in range(rounds):
            for title, name in names.items():
                begin, before, count = time.perf_counter(), processor_s(), min(IMAGES_A_ROUND, len(contents))
                timed(server.grpc_url, name, contents[:IMAGES_A_ROUND], IN_FLIGHT)
                rate[title].append(count / (time.perf_counter() - begin))
                spent[title].append((processor_s() - before) / count)
                alone[title] += timed(server.grpc_url, name, contents[:CALLS_ALONE], 1)
        accuracy = {title: average_precision(server.grpc_url, name, images) for title, name in names.items()}
    columns = (f"images/s, {IN_FLIGHT} in flight", "ratio", "processor ms an image", "ratio")
    table = Table("", *columns, "p50 ms, 1 in flight", "ratio", "mAP50-95", "loss")
    first = next(iter(names))
    for title in names:
        mine, base = statistics.median(rate[title]), statistics.median(rate[first])
        slow, slow_base = statistics.median(alone[title]), statistics.median(alone[first])
        loss = accuracy[first] - accuracy[title]
        work_s, work_base = statistics.median(spent[title]), statistics.median(spent[first])
        row = (f"{mine:.1f}", f"{mine / base:.2f}", f"{work_s * 1e3:.0f}", f"{work_s / work_base:.2f}")
        row += (f"{slow * 1e3:.0f}", f"{slow / slow_base:.2f}")
        table.add_row(title, *row, f"{accuracy[title]:.4f}", f"{loss:+.4f}")
    Console(width=160).print(table)


def processor_s() -> float:
    """Return the processor time that the server's processes have taken."""
    times = [process.cpu_times() for process in psutil.Process().children(recursive=True)]
    return sum(one.user + one.system for one in times)


def timed(url: str, name: str, contents: Sequence[bytes], in_flight: int) -> list[float]:
    """Ask for all images; return how long each took, in seconds."""
    with Client(url, model=name, timeout_s=120) as client, ThreadPoolExecutor(in_flight) as pool:

        def one(content: bytes) -> float:
            begin = time.perf_counter()
            client.detect(content)
            return time.perf_counter() - begin

        return list(pool.map(one, contents))


def average_precision(url: str, name: str, images: Sequence[Path]) -> float:
    """Return mAP50-95 of a served variant on these images alone."""
    subject = Subject("detect", images[0], name)
    found = served(url, subject, images, EVALUATION)
    return restricted(Evaluator(), {path.name for path in images})(
        "bbox", {path.name: arrays for path, arrays in zip(images, found, strict=True)}
    )


def restricted(evaluator: Evaluator, names: set[str]) -> Callable[..., float]:
    """Let an evaluator know nothing of other images, which would count as missed."""
    truth = evaluator._truth
    ids = {image["id"] for image in truth["images"] if image["file_name"] in names}
    evaluator._truth = {
        **truth,
        "images": [image for image in truth["images"] if image["id"] in ids],
        "annotations": [note for note in truth["annotations"] if note["image_id"] in ids],
    }
    return evaluator.average_precision


if __name__ == "__main__":
    main()
