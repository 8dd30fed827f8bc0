# SPDX-License-Identifier: Apache-2.0
"""Compare slices on the server with a request for each tile: objects, rates, and the small objects that both find.

python -m tests.benchmarks.slices [--weights yolov8n.pt]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from tests.data import shapes
from tests.sliced_by_client import best_first, differences, mosaic, sliced_by_client
from yolov8_export.config.deployment import Deployment
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer
from yolov8_triton import Client

DATA = Path(__file__).parents[1] / "data"
TASKS = ("detect", "segment", "obb")
SIZE, TILE = (1500, 2000), 400
MASKS_SIZE = (750, 1000)
"""The size of images for segment: supervision compares whole masks, which takes minutes for large ones."""
CELL = 160
"""The side in pixels of a drawn scene in the set of small objects; the network was trained with 320."""
ROUNDS, TIMED = 3, 4
Call = Callable[[npt.NDArray[np.uint8]], Any]


def main() -> None:
    """Run the comparison and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20, help="images for each task (default: %(default)s)")
    parser.add_argument("--weights", help="weights for the rates, in place of this project's small ones (detect)")
    parser.add_argument("--no-rates", action="store_true", help="compare the objects alone")
    options = parser.parse_args()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory() as folder:
        for task in TASKS:
            weights = options.weights if task == "detect" and options.weights else DATA / f"shapes-{task}.pt"
            target = Target(repository=Path(folder), name=task)
            export(weights, target, deployment=Deployment(max_slices=256))
        with TritonServer(Path(folder)) as server:
            for task in TASKS:
                compare(
                    console, server.grpc_url, task, options.images, rated=not options.no_rates and task != "segment"
                )
            if not options.weights:
                recall(console, server.grpc_url)


def compare(console: Console, url: str, task: str, count: int, *, rated: bool) -> None:
    """Print the largest differences of the objects in some images, and the ratios of the rates."""
    size = MASKS_SIZE if task == "segment" else SIZE
    images = [mosaic(100 + number, task, size) for number in range(count)]
    with (
        Client(url, model=task, timeout_s=600) as client,
        Client(url, model=task, timeout_s=600, array_format="bmp") as exact,
    ):

        def on_server(sender: Client) -> Call:
            return lambda image: getattr(sender, task)(image, channels="BGR", slice=TILE, max_det=1000)

        def on_client(sender: Client) -> Call:
            return lambda image: sliced_by_client(getattr(sender, task), image, size=TILE)

        apart: dict[str, float] = {}
        objects = 0
        for image in images:
            expected = on_client(exact)(image)
            objects += len(expected)
            found = differences(best_first(on_server(exact)(image).to_supervision()), expected)
            apart = {name: max(value, apart.get(name, 0)) for name, value in found.items()}
        console.print(
            f"{task}: {objects} objects in {count} images of {size[1]} x {size[0]}; largest differences:", apart
        )
        if not rated:  # with masks, most of the time would be supervision's
            return
        table = Table("arrays sent as", "callers", "images a second", "by a request for each tile", "ratio")
        for sender, format_ in ((client, "JPEG"), (exact, "BMP (lossless)")):
            for callers in (1, 4):
                ours, theirs = rates(on_server(sender), on_client(sender), images[:TIMED], callers)
                table.add_row(format_, str(callers), f"{ours:.2f}", f"{theirs:.2f}", f"{ours / theirs:.2f}")
        console.print(table)


def rates(one: Call, other: Call, images: Sequence[npt.NDArray[np.uint8]], callers: int) -> tuple[float, float]:
    """Return the images a second of two ways, the median of rounds in turns."""
    measured: tuple[list[float], list[float]] = [], []
    with ThreadPoolExecutor(callers) as pool:
        for _ in range(ROUNDS):
            for way, times in zip((one, other), measured, strict=True):
                begin = time.perf_counter()
                list(pool.map(way, images))
                times.append(len(images) / (time.perf_counter() - begin))
    return statistics.median(measured[0]), statistics.median(measured[1])


def recall(console: Console, url: str) -> None:
    """Print the share of small drawn objects that are found in whole images and in slices."""
    found = {"whole image": 0, "slices": 0}
    truth = 0
    with Client(url, model="detect", timeout_s=600) as client:
        for seed in range(4):
            image = mosaic(500 + seed, "detect", (1600, 1600), cell=CELL)
            boxes = small_objects(500 + seed, (1600, 1600))
            truth += len(boxes)
            for name, options in (("whole image", {}), ("slices", {"slice": 320, "slice_merge": "nms"})):
                result = client.detect(image, channels="BGR", max_det=1000, **options)  # type: ignore[arg-type]
                found[name] += hits(boxes, result.xyxy)
    shares = ", ".join(f"{name} {number / truth:.3f}" for name, number in found.items())
    console.print(f"recall of {truth} objects in 4 images of 1600 x 1600, IoU of at least 0.5: {shares}")


def small_objects(seed: int, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the corners of all objects in the image that `mosaic` draws."""
    boxes = []
    number = seed * 10_000
    for top in range(0, size[0], CELL):
        for left in range(0, size[1], CELL):
            drawn = shapes.scene(number, "detect", size=(CELL, CELL)).shapes
            boxes += [shape.xyxy + np.array([left, top, left, top]) for shape in drawn]
            number += 1
    return np.array(boxes)


def hits(truth: npt.NDArray[np.float64], found: npt.NDArray[np.float32]) -> int:
    """Return how many true boxes have a found one that overlaps by half of their union."""
    if not len(found):
        return 0
    low, high = np.maximum(truth[:, None, :2], found[:, :2]), np.minimum(truth[:, None, 2:], found[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    union = (truth[:, 2:] - truth[:, :2]).prod(axis=1)[:, None] + (found[:, 2:] - found[:, :2]).prod(axis=1) - shared
    return int((shared / union >= 0.5).any(axis=1).sum())


if __name__ == "__main__":
    main()
