# SPDX-License-Identifier: Apache-2.0
"""Train very small networks on scenes of shapes, and measure the committed ones.

    python tests/data/train.py detect                    # train, measure, write shapes-detect.pt and shapes.json
    python tests/data/train.py detect --family yolo26    # so too shapes-yolo26-detect.pt
    python tests/data/train.py evaluate detect           # measure the committed weights again

Takes one core: minutes for YOLOv8's detect, up to half an hour for the others.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("YOLO_OFFLINE", "true")  # before ultralytics: it reads them on import
os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_VERBOSE", "false")  # a line an epoch, ours
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file, too, this is tests.data.train

import torch
import ultralytics
from ultralytics.models import YOLO

from tests.data.checkpoint import strip
from tests.data.dataset import write_dataset
from tests.data.families import FOLDERS, write_architecture
from tests.data.figures import (
    HELD_OUT,
    MAX_BYTES,
    METRICS,
    REQUIRED,
    YOLOV8,
    Figure,
    read_figures,
    record,
    sha256,
    weights_path,
)
from tests.data.shapes import TASKS, ShapeTask

IMGSZ = 160
TRAIN = range(800)
VALIDATION = range(1_000_000, 1_000_100)
BATCH = 16
SCALE = [0.33, 0.125, 512]
"""Depth, width, most channels: half of n's width; 512 keeps every task below the size limit."""
SCALES = {"yolo12": [0.33, 0.25, 256]}
"""YOLO12's attention needs multiples of 32 channels, so n's whole width; with 512 channels at most it has 2.8 MB."""

_GEOMETRY = {"mosaic": 0.0, "scale": 0.2, "translate": 0.05, "erasing": 0.0, "auto_augment": None}
"""Gentle augmentation: mosaics at 160 px leave shapes too small to tell apart, and small networks learn slowly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How long and how fast one task of a family trains."""

    epochs: int
    learning_rate: float = 0.003


RECIPES: dict[tuple[str, ShapeTask], Recipe] = {
    (YOLOV8, "detect"): Recipe(epochs=25),
    (YOLOV8, "segment"): Recipe(epochs=20),
    (YOLOV8, "pose"): Recipe(epochs=30),
    (YOLOV8, "obb"): Recipe(epochs=40),
    (YOLOV8, "classify"): Recipe(epochs=25, learning_rate=0.001),
    ("yolo11", "detect"): Recipe(epochs=25),
    ("yolo11", "segment"): Recipe(epochs=20),
    ("yolo26", "detect"): Recipe(epochs=45),
    ("yolo26", "segment"): Recipe(epochs=30),
    ("yolo26", "pose"): Recipe(epochs=35),
    ("yolo26", "obb"): Recipe(epochs=40),
    ("yolov10", "detect"): Recipe(epochs=40),
    ("yolo12", "detect"): Recipe(epochs=30),
}


def train(task: ShapeTask, family: str = YOLOV8, *, epochs: int) -> Figure:
    """Train, measure and write the weights of ``task``.

    Raises:
        SystemExit: They are too large or not good enough; what is committed stays as it was.
    """
    with tempfile.TemporaryDirectory(prefix="shapes-") as scratch:
        trained = _train(task, family, Path(scratch), epochs=epochs)
        stripped = Path(scratch) / weights_path(task, family).name
        strip(trained, stripped, task=task, imgsz=IMGSZ)
        figure = measure(task, family, stripped, epochs=epochs)
        _refuse_unfit(figure, stripped.stat().st_size)
        weights_path(task, family).write_bytes(stripped.read_bytes())
    record(figure)
    return figure


def measure(task: ShapeTask, family: str, weights: Path, *, epochs: int) -> Figure:
    """Evaluate ``weights`` on the held-out scenes with Ultralytics' own validator."""
    with tempfile.TemporaryDirectory(prefix="shapes-") as scratch:
        data = write_dataset(Path(scratch), task, train=HELD_OUT[:BATCH], val=HELD_OUT)
        metrics = YOLO(weights, task=task).val(data=str(data), **_common(Path(scratch)))
    return Figure(
        family=family,
        task=task,
        metric=METRICS[task],
        value=round(float(metrics.results_dict[METRICS[task]]), 4),
        imgsz=IMGSZ,
        epochs=epochs,
        train_seeds=(TRAIN.start, TRAIN.stop),
        val_seeds=(VALIDATION.start, VALIDATION.stop),
        held_out_seeds=(HELD_OUT.start, HELD_OUT.stop),
        ultralytics=ultralytics.__version__,
        torch=torch.__version__,
        sha256=sha256(weights),
        date=datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
    )


def _train(task: ShapeTask, family: str, scratch: Path, *, epochs: int) -> Path:
    data = write_dataset(scratch / "dataset", task, train=TRAIN, val=VALIDATION)
    model = YOLO(write_architecture(scratch, family, task, scale=SCALES.get(family, SCALE)), task=task)
    model.add_callback("on_fit_epoch_end", lambda trainer: _report(trainer, METRICS[task]))
    model.train(
        data=str(data),
        epochs=epochs,
        optimizer="AdamW",
        lr0=RECIPES[family, task].learning_rate,
        cos_lr=True,
        warmup_epochs=1,
        amp=False,
        seed=0,
        cache="ram",
        **_GEOMETRY,
        **_common(scratch),
    )
    trainer: Any = model.trainer
    return Path(trainer.best)


def _common(scratch: Path) -> dict[str, Any]:
    return {
        "imgsz": IMGSZ,
        "batch": BATCH,
        "workers": 0,
        "device": "cpu",
        "plots": False,
        "verbose": False,
        "project": str(scratch / "runs"),
    }


def _report(trainer: Any, metric: str) -> None:
    print(f"epoch {trainer.epoch + 1}/{trainer.epochs}: {metric} {trainer.metrics.get(metric, 0.0):.3f}", flush=True)


def _refuse_unfit(figure: Figure, size: int) -> None:
    if size > MAX_BYTES:
        raise SystemExit(
            f"{figure.family} {figure.task}: expected weights of at most {MAX_BYTES} bytes, got {size}; lower SCALE"
        )
    required = REQUIRED[figure.task]
    if figure.value < required:
        raise SystemExit(
            f"{figure.family} {figure.task}: expected {figure.metric} of at least {required}, got {figure.value}; "
            "train more --epochs"
        )


def _evaluate(task: ShapeTask, family: str) -> Figure:
    recorded = read_figures().get((family, task))
    if recorded is None:
        raise SystemExit(f"expected committed weights, got none of {family} for {task}; train them")
    measured = measure(task, family, weights_path(task, family), epochs=recorded.epochs)
    print(f"{family} {task}: recorded {recorded.value}, measured {measured.value}")
    return measured


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for task in TASKS:
        command = commands.add_parser(task, help=f"train a network for {task}")
        families = [family for family, its_task in RECIPES if its_task == task]
        command.add_argument("--family", choices=families, default=YOLOV8, help="default: %(default)s")
        command.add_argument("--epochs", type=int, help="default: the recipe's")
    command = commands.add_parser("evaluate", help="measure committed weights again")
    command.add_argument("task", choices=TASKS)
    command.add_argument("--family", choices=FOLDERS, default=YOLOV8, help="default: %(default)s")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.command == "evaluate":
        print(_evaluate(options.task, options.family))
    else:
        epochs = options.epochs or RECIPES[options.family, options.command].epochs
        print(train(options.command, options.family, epochs=epochs))


if __name__ == "__main__":
    main()
