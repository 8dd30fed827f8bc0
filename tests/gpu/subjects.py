# SPDX-License-Identifier: Apache-2.0
"""Weights and images of each task, and what Ultralytics finds in them."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.data import shapes
from tests.parity.deployment import REFERENCE, Arrays, Setting
from tests.parity.matching import box_iou

DATA = Path(__file__).parent.parent / "data"
SUFFIXES = {"detect": "", "segment": "-seg", "pose": "-pose", "classify": "-cls"}
SCENES = 24


@dataclass(frozen=True)
class Subject:
    """One task: its weights, and the images on which it is judged."""

    task: str
    weights: Path
    images: tuple[Path, ...]
    labelled: bool = False

    @property
    def name(self) -> str:
        """The model's name, in characters that Triton's dali backend takes."""
        return self.weights.stem.replace("-", "_")


def find_subjects(tasks: Sequence[str], work: Path) -> list[Subject]:
    """Return the tasks with Ultralytics' weights and COCO's images where they are given, else with this project's own.

    ``YOLOV8_WEIGHTS_DIR`` has ``yolov8n.pt`` and so on; ``YOLOV8_COCO_DIR`` has ``images/`` and ``instances.json``.
    """
    weights, coco = (os.environ.get(name) for name in ("YOLOV8_WEIGHTS_DIR", "YOLOV8_COCO_DIR"))
    subjects = []
    for task in tasks:
        path = Path(weights or "", f"yolov8n{SUFFIXES.get(task, '-obb')}.pt")
        if weights and coco and path.is_file() and task != "obb":
            images = tuple(sorted(Path(coco, "images").glob("*.jpg")))
            subjects.append(Subject(task, path, images, labelled=task in ("detect", "segment")))
        else:
            subjects.append(Subject(task, DATA / f"shapes-{task}.pt", _scenes(task, work / f"scenes-{task}")))
    return subjects


def _scenes(task: Any, folder: Path) -> tuple[Path, ...]:
    folder.mkdir(parents=True)
    paths = []
    for seed in range(SCENES):
        paths.append(folder / f"{seed}.jpg")
        scene = shapes.scene(70_000 + seed, task, size=(240 + 24 * (seed % 5), 320 - 16 * (seed % 7)))
        cv2.imwrite(str(paths[-1]), scene.image)
    return tuple(paths)


def split(images: Sequence[Path], folder: Path) -> tuple[Path, Path]:
    """Link half of the images into each of two new folders: to judge a reduced network, and to calibrate it."""
    halves = folder / "evaluation", folder / "calibration"
    for first, half in enumerate(halves):
        half.mkdir(parents=True)
        for image in images[first::2]:
            (half / image.name).symlink_to(image.resolve())
    return halves


def ultralytics(subject: Subject, settings: Sequence[Setting], work: Path, *, device: str) -> list[list[Arrays]]:
    """Return what Ultralytics finds on a device, for each setting a list with an item per image."""
    request, result = work / f"{subject.name}.json", work / f"{subject.name}.pickle"
    images = [str(image) for image in subject.images]
    asked = {"weights": str(subject.weights), "images": images, "settings": list(settings), "device": device}
    request.write_text(json.dumps(asked))
    environment = os.environ | {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    command = [sys.executable, "-P", str(REFERENCE), str(request), str(result)]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    answers: list[list[Arrays]] = pickle.loads(result.read_bytes())
    return answers


@dataclass(frozen=True)
class Match:
    """Certain objects of both sides, and how many of them have a partner on the other side."""

    certain: int
    matched: int

    @property
    def share(self) -> float:
        """The share from 0 to 1."""
        return self.matched / self.certain if self.certain else 0.0


CERTAIN, PARTNER_IOU = 0.5, 0.5
"""An object is certain above this confidence. A partner has the same class, any confidence, and this overlap."""


def match(served: Sequence[Arrays], reference: Sequence[Arrays]) -> Match:
    """Compare the answers of many images; for classification, the best classes of certain images."""
    certain = matched = 0
    for one, other in zip(served, reference, strict=True):
        if "scores" in one:
            sure = bool(max(np.max(one["scores"]), np.max(other["scores"])) >= CERTAIN)
            same_class = bool(np.argmax(one["scores"]) == np.argmax(other["scores"]))
            certain, matched = certain + sure, matched + (sure and same_class)
            continue
        for mine, yours in ((one, other), (other, one)):
            same = np.asarray(mine["class_id"])[:, None] == np.asarray(yours["class_id"])[None]
            partners = (same & (box_iou(_boxes(mine), _boxes(yours)) >= PARTNER_IOU)).any(axis=1)
            sure = np.asarray(mine["confidence"]) >= CERTAIN
            certain, matched = certain + int(sure.sum()), matched + int((sure & partners).sum())
    return Match(certain, matched)


def _boxes(arrays: Arrays) -> Any:
    if "xyxy" in arrays:
        return np.asarray(arrays["xyxy"], np.float32).reshape(-1, 4)
    corners = np.asarray(arrays["corners"], np.float32).reshape(-1, 4, 2)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
