# SPDX-License-Identifier: Apache-2.0
"""Export models, serve them, and ask for all objects in many images at once."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yolov8_triton import ClassProbabilities, Client, OrientedBoxes, Poses, Segmentations

Arrays = dict[str, Any]
Setting = dict[str, Any]

DEFAULTS: Setting = {"conf": 0.25, "iou": 0.7, "max_det": 300}
EVALUATION: Setting = {"conf": 0.001, "iou": 0.6, "max_det": 300}
IMGSZ = {"detect": 640, "segment": 640, "pose": 640, "obb": 160}

IN_FLIGHT = 6
TIMEOUT_S = 120.0
PATIENCE_S = "100"
"""A busy machine may be slow, and no answer may be missing."""
REFERENCE = Path(__file__).with_name("reference.py")


@dataclass(frozen=True)
class Subject:
    """Weights, and the name they are served under."""

    task: str
    weights: Path
    name: str


def export(subject: Subject, repository: Path, engine: str = "onnxruntime") -> None:
    """Export with the command line, as a user would."""
    command = [sys.executable, "-m", "yolov8_export", "export", str(subject.weights), "--network", engine]
    command += ["--name", subject.name, "--repository", str(repository), "--queue-timeout-s", PATIENCE_S]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def served(url: str, subject: Subject, images: Sequence[Path], setting: Setting) -> list[Arrays]:
    """Ask the served model for all images, several at once."""
    with Client(url, model=subject.name, timeout_s=TIMEOUT_S) as client, ThreadPoolExecutor(IN_FLIGHT) as pool:
        ask = getattr(client, subject.task)
        return list(pool.map(lambda image: arrays(ask(image, **setting)), images))


def reference(subject: Subject, images: Sequence[Path], settings: Sequence[Setting], work: Path) -> list[list[Arrays]]:
    """Ask Ultralytics, in a process that imports nothing of this project: one list of images per setting."""
    request, result = work / f"{subject.name}.json", work / f"{subject.name}.pickle"
    asked = {"weights": str(subject.weights), "images": [str(image) for image in images], "settings": list(settings)}
    request.write_text(json.dumps(asked))
    environment = os.environ | {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    command = [sys.executable, "-P", str(REFERENCE), str(request), str(result)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    answers: list[list[Arrays]] = pickle.loads(result.read_bytes())
    return answers


def arrays(result: Any) -> Arrays:
    """Return a client's result as arrays by the names that `reference.py` uses."""
    found: Arrays = {"orig_shape": result.orig_shape}
    if isinstance(result, ClassProbabilities):
        return found | {"scores": result.scores}
    found |= {"confidence": result.confidence, "class_id": result.class_id}
    if isinstance(result, OrientedBoxes):
        return found | {"xywhr": result.xywhr, "corners": result.xyxyxyxy}
    found["xyxy"] = result.xyxy
    if isinstance(result, Poses):
        found["keypoints"] = result.keypoints
    if isinstance(result, Segmentations):
        found["masks"] = list(result.rle)
    return found
