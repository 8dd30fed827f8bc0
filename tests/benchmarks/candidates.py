# SPDX-License-Identifier: Apache-2.0
"""Print what ``--network-output candidates`` refuses on photographs, and what it saves.

    YOLOV8_WEIGHTS_DIR=… YOLOV8_COCO_DIR=… python tests/benchmarks/candidates.py [--images 64] [--repeats 20]

Of every eighth image, the answers that are not refused are compared with those of all anchors and classes, to the bit.
Times are of the thread,
not of the clock on the wall, and the kinds of output take turns. The last table rounds the outputs to FP16.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

# Before numpy, and with it its BLAS, is loaded: one core.
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parents[2]))

import cv2
import numpy as np
import numpy.typing as npt

from tests import heads
from tests.networks import Network
from yolov8_contract.candidates import BOX_ROWS
from yolov8_contract.errors import InvalidParameterError
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.postprocess import postprocess
from yolov8_contract.served_model import ServedModel

NETWORKS = ("yolov8n", "yolov8n-seg", "yolov8n-pose")
COUNTS = (300, 1000, 2000, 3840)
CONFS = (0.001, 0.005, 0.01, 0.05, 0.25)
TIMED_COUNT = 1000
COMPARED = 8

Outputs = Sequence[npt.NDArray[np.float32]]
Scene = tuple[Outputs, tuple[int, int]]
"""The outputs of a network, and the height and width of the image."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64, help="photographs (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=20, help="measurements of each image (default: %(default)s)")
    options = parser.parse_args()
    files = sorted((Path(os.environ["YOLOV8_COCO_DIR"]) / "images").rglob("*.jpg"))[: options.images]
    for name in NETWORKS:
        network = Network(Path(os.environ["YOLOV8_WEIGHTS_DIR"]) / f"{name}.pt", (640, 640))
        pictures = [cv2.imread(str(file)) for file in files]
        scenes = [(network.outputs(picture), picture.shape[:2]) for picture in pictures]
        print(f"\n{name}, {len(scenes)} images")
        print_refusals(network.served, scenes)
        print_times(network.served, scenes, options.repeats)
        print_rounding(scenes, len(network.served.labels))


def print_refusals(model: ServedModel, scenes: Sequence[Scene]) -> None:
    """Print the refused images for each number of candidates and each threshold, and compare some other answers."""
    anchors = [np.sort(head[0][BOX_ROWS : BOX_ROWS + len(model.labels)].max(axis=0)) for head, _ in scenes]
    print(f"{'conf':<34}" + "".join(f"{conf:>9g}" for conf in CONFS))
    most = [max(int(np.count_nonzero(scores > np.float32(conf))) for scores in anchors) for conf in CONFS]
    print(f"{'most anchors above it in an image':<34}" + "".join(f"{count:>9}" for count in most))
    for count in COUNTS:
        refused = [sum(not answered(model, scene, count, conf) for scene in scenes) for conf in CONFS]
        for scene, conf in itertools.product(scenes[::COMPARED], CONFS):
            compare(model, scene, count, conf)
        print(f"{f'images refused of {count} candidates':<34}" + "".join(f"{number:>9}" for number in refused))


def answered(model: ServedModel, scene: Scene, count: int, conf: float) -> bool:
    """Return whether so many candidates are enough for a threshold."""
    parameters = RequestParameters(conf=conf, max_det=1)
    try:
        few(model, scene, count, parameters)
    except InvalidParameterError:
        return False
    return True


def compare(model: ServedModel, scene: Scene, count: int, conf: float) -> None:
    """Require the answers of the raw output of candidates that are enough, whatever else is asked."""
    if not answered(model, scene, count, conf):
        return
    for more in ({}, {"classes": (0,)}, {"agnostic": True}, {"max_det": 1000, "iou": 0.6}):
        parameters = RequestParameters(conf=conf, **more)
        found = few(model, scene, count, parameters)
        for name, values in postprocess(model, *scene, parameters).items():
            np.testing.assert_array_equal(found[name], values, strict=True)


def few(model: ServedModel, scene: Scene, count: int, parameters: RequestParameters) -> dict[str, Any]:
    """Return what postprocessing makes of the best anchors."""
    head, shape = scene
    kept = heads.candidates(model, head, count)
    return postprocess(replace(model, network_output="candidates"), kept, shape, parameters)


def print_times(model: ServedModel, scenes: Sequence[Scene], repeats: int) -> None:
    """Print the bytes of ``output0`` and the time of postprocessing for each kind of output."""
    kinds: dict[str, tuple[ServedModel, list[Any]]] = {"raw": (model, [head for head, _ in scenes])}
    if len(model.labels) > 1:
        reduced = [heads.best_class(model, head) for head, _ in scenes]
        kinds["best-class"] = replace(model, network_output="best-class"), reduced
    kept = [heads.candidates(model, head, TIMED_COUNT) for head, _ in scenes]
    kinds["candidates"] = replace(model, network_output="candidates"), kept
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(repeats):
        for index, (_, shape) in enumerate(scenes):
            for kind, (served, outputs) in kinds.items():
                start = time.thread_time()
                postprocess(served, outputs[index], shape, RequestParameters())
                times[kind].append((time.thread_time() - start) * 1e3)
    raw = float(np.median(times["raw"]))
    for kind, (_, outputs) in kinds.items():
        median = float(np.median(times[kind]))
        size = np.ascontiguousarray(outputs[0][0]).nbytes / 1000
        print(f"{kind:<34}{size:9.0f} KB output0{median:9.3f} ms{median / raw:9.2f} of raw")


def print_rounding(scenes: Sequence[Scene], classes: int) -> None:
    """Print what FP16 changes in the boxes and scores of anchors above the default threshold."""
    corners, scores = [0.0], [0.0]
    for head, _ in scenes:
        seen = head[0][:, head[0][BOX_ROWS : BOX_ROWS + classes].max(axis=0) > RequestParameters().conf]
        moved = np.abs(seen - seen.astype(np.float16).astype(np.float32))
        if seen.size:
            corners.append(float((moved[:2] + moved[2:4] / 2).max()))
            scores.append(float(moved[BOX_ROWS : BOX_ROWS + classes].max()))
    print(f"in FP16, a corner moves by up to {max(corners):.3f} px of the input, a score by {max(scores):.1e}")


if __name__ == "__main__":
    main()
