# SPDX-License-Identifier: Apache-2.0
"""Print what postprocessing one image costs on one core, and what the masks of a response weigh.

    python tests/benchmarks/postprocess.py [--repeats 60]

With YOLOV8_WEIGHTS_DIR set, outputs of yolov8n, yolov8n-pose and yolov8n-seg on Ultralytics' own two photographs are
measured besides drawn ones. Times are of the thread, not of the clock on the wall: neighbours on the machine
lengthen them less.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before numpy, and with it its BLAS, is loaded: one core.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import numpy.typing as npt

from tests import heads
from yolov8_contract.masks import mask_runs
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.postprocess import postprocess
from yolov8_contract.rle import encode
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task

DEFAULTS = RequestParameters()
FULL_HD = (1080, 1920)
Outputs = list[npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One line of the table.

    Attributes:
        name: What is measured.
        run: The work.
        limit_ms: What the median may be at most, where something is promised.
    """

    name: str
    run: Callable[[], Any]
    limit_ms: float | None = None


def main() -> int:
    """Measure, print, and fail where a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=60, help="measurements per line (default: %(default)s)")
    repeats = parser.parse_args().repeats
    broken = 0
    print(f"{'':<58}{'median':>9}{'p90':>9}  limit, ms")
    for case in [*drawn(), *trained()]:
        times = measure(case.run, repeats)
        median, p90 = np.median(times), np.quantile(times, 0.9)
        missed = case.limit_ms is not None and median > case.limit_ms
        broken += missed
        limit = "" if case.limit_ms is None else f"  {case.limit_ms:g}{' MISSED' if missed else ''}"
        print(f"{case.name:<58}{median:9.2f}{p90:9.2f}{limit}")
    print(f"\n{'':<58}{'strings':>9}{'raw':>11}  ratio")
    for name, model, outputs, shape in masks_to_weigh():
        report_size(name, postprocess(model, outputs, shape, DEFAULTS), shape)
    return 1 if broken else 0


def measure(run: Callable[[], Any], repeats: int) -> npt.NDArray[np.float64]:
    """Return milliseconds of each repetition, after three that don't count."""
    times = []
    for _ in range(repeats + 3):
        start = time.thread_time()
        run()
        times.append(time.thread_time() - start)
    return np.array(times[3:]) * 1e3


def drawn() -> Iterator[Case]:
    """Yield cases that need no weights; heads are those of 640 x 640 networks."""
    for task, classes, limit in ((Task.DETECT, 80, 1.0), (Task.POSE, 1, 1.0)):
        model = heads.served(task, classes=classes, imgsz=(640, 640))
        for objects in (6, 20, 100):
            yield head_case(model, objects, limit)
        yield head_case(model, 20, None, RequestParameters(conf=0.001, iou=0.6))
        yield head_case(model, 20, None, RequestParameters(conf=0.0, max_det=1000))
    model = heads.served(Task.OBB, classes=15, imgsz=(640, 640))
    for objects, obb_limit in ((5, 1.5), (20, 1.5), (60, None), (150, 10.0), (300, None)):
        yield head_case(model, objects, obb_limit)
    yield head_case(model, 20, None, RequestParameters(conf=0.0, max_det=1000))
    for megapixels, count in ((0.25, 10), (0.5, 10), (1.0, 10), (2.0, 10), (4.0, 10), (2.0, 1)):
        yield mask_case(FULL_HD, megapixels, count, 8.0 if megapixels == 1 else None)
    yield mask_case((3000, 4000), 12.0, 1, None)
    yield worst_case("upright, all 8400 alike, max_det 1000", Task.DETECT, spread=0)
    yield worst_case("upright, all 8400 apart, max_det 1000", Task.DETECT, spread=1)
    yield worst_case("rotated, all 8400 alike, max_det 1000", Task.OBB, spread=0)
    yield worst_case("rotated, all 8400 apart, max_det 1000", Task.OBB, spread=1)


def head_case(
    model: ServedModel, objects: int, limit_ms: float | None, parameters: RequestParameters = DEFAULTS
) -> Case:
    """Return postprocessing of a drawn head, 8 anchors an object."""
    outputs = heads.outputs(model, objects=objects, seed=objects)
    return output_case("drawn", model, outputs, FULL_HD, limit_ms, parameters)


def output_case(
    source: str,
    model: ServedModel,
    outputs: Outputs,
    shape: tuple[int, int],
    limit_ms: float | None,
    parameters: RequestParameters = DEFAULTS,
) -> Case:
    """Return postprocessing of some outputs; candidates and detections go into its name."""
    scores = outputs[0][4 : 4 + len(model.labels)].max(axis=0)
    candidates = np.count_nonzero(scores > np.float32(parameters.conf))
    found = int(postprocess(model, outputs, shape, parameters)["num_detections"][0])
    conf = "" if parameters == DEFAULTS else f" conf {parameters.conf:g},"
    return Case(
        name=f"{model.task.value}, {source},{conf} {candidates} candidates, {found} found",
        run=lambda: postprocess(model, outputs, shape, parameters),
        limit_ms=limit_ms,
    )


def mask_case(shape: tuple[int, int], megapixels: float, count: int, limit_ms: float | None) -> Case:
    """Return a segment network's whole postprocessing, then masks of ``count`` boxes of so many pixels together."""
    model = heads.served(Task.SEGMENT, classes=80, imgsz=(640, 640))
    outputs = heads.outputs(model, objects=count, seed=3)
    boxes, mix = placed(shape, megapixels * 1e6 / count, count), outputs[0][-32:, :count].T.copy()

    def run() -> None:
        postprocess(heads.served(Task.DETECT, classes=80, imgsz=(640, 640)), outputs, shape, DEFAULTS)
        encode([runs for runs in mask_runs(outputs[1], mix, boxes, shape) if runs is not None])

    return Case(
        name=f"segment, {count} boxes of {megapixels:g} Mpx in {shape[0]} x {shape[1]}", run=run, limit_ms=limit_ms
    )


def placed(shape: tuple[int, int], area: float, count: int) -> npt.NDArray[np.float32]:
    """Return boxes of an area each, of different shapes and in different places."""
    rng = np.random.default_rng(5)
    width = np.clip(np.sqrt(area * rng.uniform(0.4, 2.5, count)), area / shape[0], shape[1])
    size = np.stack([width, area / width], axis=1)
    corner = rng.uniform(0, 1, (count, 2)) * ([shape[1], shape[0]] - size)
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


def worst_case(name: str, task: Task, spread: int) -> Case:
    """Return a head whose every anchor is an object: one and the same, or each its own."""
    model = heads.served(task, classes=1, imgsz=(640, 640))
    outputs = heads.outputs(model, objects=0)
    place = np.arange(outputs[0].shape[1])
    outputs[0][:2] = np.stack(np.divmod(place, 92)) * (7.0 * spread) + 5
    outputs[0][2:4] = 6.0
    outputs[0][4] = 0.9 - place / 1e5
    parameters = RequestParameters(max_det=1000)
    return Case(name=name, run=lambda: postprocess(model, outputs, (640, 640), parameters))


def trained() -> Iterator[Case]:
    """Yield cases of real networks, where their weights are at hand."""
    for name, model, outputs, shape in photographs():
        limit = 1.0 if model.task is not Task.SEGMENT else None
        yield output_case(name, model, outputs, shape, limit)
        yield output_case(name, model, outputs, shape, None, RequestParameters(conf=0.001, iou=0.6))


def photographs() -> Iterator[tuple[str, ServedModel, Outputs, tuple[int, int]]]:
    """Yield the raw outputs of COCO networks on the photographs that Ultralytics brings, if there are weights."""
    if not (folder := os.environ.get("YOLOV8_WEIGHTS_DIR")):
        return
    import cv2
    from ultralytics.utils import ASSETS

    from tests.networks import Network

    for stem in ("yolov8n", "yolov8n-pose", "yolov8n-seg"):
        network = Network(Path(folder) / f"{stem}.pt", (640, 640))
        for name in ("bus.jpg", "zidane.jpg"):
            image = cv2.imread(str(ASSETS / name))
            yield f"{stem} {name}", network.served, network.outputs(image), image.shape[:2]


def masks_to_weigh() -> Iterator[tuple[str, ServedModel, Outputs, tuple[int, int]]]:
    """Yield segment outputs of drawn and, where there are weights, real scenes."""
    model = heads.served(Task.SEGMENT, classes=80, imgsz=(640, 640))
    for shape in ((200, 250), (480, 640), FULL_HD, (3000, 4000)):
        yield f"drawn, {shape[0]} x {shape[1]}", model, heads.outputs(model, objects=12, seed=1), shape
    yield from (scene for scene in photographs() if scene[1].task is Task.SEGMENT)


def report_size(name: str, tensors: dict[str, npt.NDArray[Any]], shape: tuple[int, int]) -> None:
    """Print the bytes of all tensors of a response, and of its masks as one byte a pixel."""
    strings = [len(text) + 4 for text in tensors["detection_masks"]]  # a length goes in front of each
    others = sum(array.nbytes for key, array in tensors.items() if key != "detection_masks")
    size, raw = sum(strings) + others, len(strings) * shape[0] * shape[1]
    print(f"{f'{name}, {len(strings)} objects':<58}{size:9}{raw:11}  {raw / size:.0f}")


if __name__ == "__main__":
    sys.exit(main())
