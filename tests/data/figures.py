# SPDX-License-Identifier: Apache-2.0
"""The committed weights: where they lie, what they have to reach, and the record of what they reached."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.data.shapes import ShapeTask

FOLDER = Path(__file__).parent
YOLOV8 = "yolov8"
RECORD = FOLDER / "shapes.json"
MAX_BYTES = 2_000_000

HELD_OUT = range(2_000_000, 2_000_300)
"""Seeds that no training and no choice of an epoch may see; tests that judge the weights take theirs from here."""

REQUIRED: dict[ShapeTask, float] = {"detect": 0.9, "segment": 0.8, "pose": 0.9, "obb": 0.8, "classify": 0.9}

METRICS: dict[ShapeTask, str] = {
    "detect": "metrics/mAP50(B)",
    "segment": "metrics/mAP50(M)",
    "pose": "metrics/mAP50(P)",
    "obb": "metrics/mAP50(B)",
    "classify": "metrics/accuracy_top1",
}
"""What is required to reach `REQUIRED`, under Ultralytics' name: boxes, masks, poses, top-1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What one weights file reached on the held-out scenes.

    Attributes:
        family: Such as ``yolov8`` and ``yolo26``.
        metric: One of `METRICS`.
        value: Between 0 and 1.
        imgsz: Side of the network's input in pixels.
        train_seeds: First seed of training, and the one after the last; so too the others.
        epochs: Epochs of training that were asked for.
        date: Day of the measurement.
    """

    family: str
    task: ShapeTask
    metric: str
    value: float
    imgsz: int
    epochs: int
    train_seeds: tuple[int, int]
    val_seeds: tuple[int, int]
    held_out_seeds: tuple[int, int]
    ultralytics: str
    torch: str
    sha256: str
    date: str


def weights_path(task: ShapeTask, family: str = YOLOV8) -> Path:
    """Return where the committed weights for ``task`` lie."""
    return FOLDER / (f"shapes-{task}.pt" if family == YOLOV8 else f"shapes-{family}-{task}.pt")


def sha256(path: Path) -> str:
    """Return the file's hash in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_figures() -> dict[tuple[str, ShapeTask], Figure]:
    """Return the record by family and task; empty before the first training."""
    if not RECORD.exists():
        return {}
    figures = (_from_json(entry) for entry in json.loads(RECORD.read_text()))
    return {(figure.family, figure.task): figure for figure in figures}


def record(figure: Figure) -> None:
    """Add the figure to the record, in place of an earlier one for its family and task."""
    figures = read_figures() | {(figure.family, figure.task): figure}
    tasks = list(REQUIRED)
    order = sorted(figures, key=lambda key: (key[0] != YOLOV8, key[0], tasks.index(key[1])))
    entries = [asdict(figures[key]) for key in order]
    RECORD.write_text(json.dumps(entries, indent=2) + "\n")


def _from_json(entry: dict[str, object]) -> Figure:
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in entry.items()}
    return Figure(**values)  # type: ignore[arg-type]  # JSON's types; `record` wrote them
