# SPDX-License-Identifier: Apache-2.0
"""Does the alert on changed pictures fire, and only then? The real rules, in promtool, on what a network really finds.

    python -m tests.benchmarks.drift WEIGHTS FOLDER

The network runs over the folder's images as they are, blurred, at night and from a camera that was moved. Streams of
random images of these, at several rates, become counters by the code that the models run. promtool evaluates
`docker/prometheus/rules.yml` on them. Before the change, two hours of unchanged images are the reference.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from ultralytics import YOLO
from ultralytics.data.augment import LetterBox

from tests.fakes.metrics import Family
from yolov8_contract import signature
from yolov8_contract.distributions import BRIGHTNESS, Distributions, of_answer, of_input
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task

RULES = Path(__file__).parents[2] / "docker" / "prometheus" / "rules.yml"
STEP_S = 15
REFERENCE_S = 7200
RATES = (0.6, 1.5, 3.0, 6.0, 12.0, 25.0)
IMAGES = 500
"""The alert fires within so many changed images, or within `LONGEST_S` where a stream is faster."""
UNCHANGED = 10_000
LONGEST_S = 90
LATE_S = 30
"""Two evaluations: counters are written every 5 seconds, and read every 15."""

Picture = npt.NDArray[np.uint8]
Values = dict[str, npt.NDArray[Any]]


def blurred(image: Picture) -> Picture:
    return cv2.GaussianBlur(image, (0, 0), image.shape[1] / 110)  # type: ignore[return-value]


def at_night(image: Picture) -> Picture:
    return ((image / 255.0) ** 2.2 * 0.35 * 255).astype(np.uint8)


def moved(image: Picture) -> Picture:
    """Return what a camera sees that looks further to the left and up: part of the old view, at its lower right."""
    height, width = image.shape[:2]
    return image[: height * 2 // 3, : width * 2 // 3]


CHANGES: dict[str, Callable[[Picture], Picture]] = {"blur": blurred, "night": at_night, "moved": moved}


def seen(network: YOLO, model: ServedModel, image: Picture) -> Values:
    """Return the quantities of an image as preprocess and postprocess count them."""
    boxes = network.predict(image, verbose=False, conf=0.25)[0].boxes
    answer = {
        signature.ORIG_SHAPE.name: np.array(image.shape[:2]),
        signature.BOXES.name: boxes.xyxy.numpy(),
        signature.SCORES.name: boxes.conf.numpy(),
        signature.CLASSES.name: boxes.cls.numpy().astype(np.int64),
    }
    return of_answer(model, answer) | of_input(LetterBox(model.imgsz)(image=image)[np.newaxis])


def series(
    stages: Sequence[tuple[float, list[Values]]], rate: float, labels: Sequence[str], rng: np.random.Generator
) -> list[dict[str, str]]:
    """Return counters for promtool: in each stage of so many seconds, images are drawn from its list."""
    family = Family()
    quantities = ("score", "size", "objects", "megapixels", BRIGHTNESS)
    counters = Distributions(family, "m_postprocess", quantities, labels)
    history: list[dict[tuple[str, str], int]] = [dict(family.values)]
    due = 0.0
    for seconds, pictures in stages:
        for _ in range(round(seconds / STEP_S)):
            due += rate * STEP_S
            for index in rng.integers(0, len(pictures), int(due)):
                counters.add(pictures[index])
            due -= int(due)
            counters.count()
            history.append(dict(family.values))
    return [
        {
            "series": f"yolov8_distribution_total{{{labelled(of, name)}}}",
            "values": " ".join(str(moment.get((of, name), "_")) for moment in history),
        }
        for of, name in history[-1]
    ]


def labelled(of: str, name: str) -> str:
    return f'model="m_postprocess",of="{of}",bin={json.dumps(name)}'


def passes(input_series: list[dict[str, str]], at_s: float, expression: str) -> bool:
    """Return whether promtool finds one sample of value 1 for the expression."""
    expected = [{"labels": "{}", "value": 1}]
    test = {
        "interval": f"{STEP_S}s",
        "input_series": input_series,
        "promql_expr_test": [{"expr": expression, "eval_time": f"{round(at_s)}s", "exp_samples": expected}],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.yml"
        path.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": f"{STEP_S}s", "tests": [test]}))
        done = subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True, check=False)
    if done.returncode and "exp:" not in done.stderr + done.stdout:
        raise SystemExit(done.stderr + done.stdout)
    return done.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if not arguments.weights.is_file() or not arguments.folder.is_dir():
        parser.error("WEIGHTS must be a checkpoint, and FOLDER a folder of images")
    if shutil.which("promtool") is None:
        parser.error("promtool is missing: apt-get install prometheus")
    network = YOLO(arguments.weights)
    labels = tuple(network.names.values())
    model = ServedModel(task=Task.DETECT, labels=labels, imgsz=(640, 640))
    files = sorted(path for path in arguments.folder.iterdir() if path.suffix in {".jpg", ".png"})
    images: list[Any] = [cv2.imread(str(path)) for path in files]
    pictures = {name: [seen(network, model, change(image)) for image in images] for name, change in CHANGES.items()}
    usual = [seen(network, model, image) for image in images]
    rng = np.random.default_rng(0)
    print(f"{len(images)} images; the alert fires within {IMAGES} changed images, or {LONGEST_S} s if that is later")
    for rate in RATES:
        within_s = max(IMAGES / rate, LONGEST_S) + LATE_S
        fired = {
            name: passes(
                series([(REFERENCE_S, usual), (within_s + STEP_S, changed)], rate, labels, rng),
                REFERENCE_S + within_s,
                'count(count(ALERTS{alertname="PicturesChanged"}))',
            )
            for name, changed in pictures.items()
        }
        quiet_s = REFERENCE_S + UNCHANGED / rate
        quiet = passes(
            series([(quiet_s, usual)], rate, labels, rng),
            quiet_s,
            f"vector(1) unless on () (max(max_over_time(yolov8:psi[{round(quiet_s)}s])) > 0.25)",
        )
        print(f"{rate:5.1f} images/s  fired: {fired}  {UNCHANGED} unchanged images without alert: {quiet}", flush=True)


if __name__ == "__main__":
    main()
