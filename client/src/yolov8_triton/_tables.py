# SPDX-License-Identifier: Apache-2.0
"""Results and models as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from yolov8_contract import rle
from yolov8_contract.served_model import ServedModel
from yolov8_triton._class_probabilities import ClassProbabilities
from yolov8_triton._detections import Detections
from yolov8_triton._oriented_boxes import OrientedBoxes
from yolov8_triton._poses import VISIBLE, Poses
from yolov8_triton._protocol import Result
from yolov8_triton._segmentations import Segmentations

Found = Detections | Segmentations | Poses | OrientedBoxes


def show_result(console: Console, image: str, result: Result) -> None:
    """Print one image's result: a line with its size and what was found, then a row for each object."""
    height, width = result.orig_shape
    console.print(Text(image, "bold"), Text(f"{width} x {height}: {result.summary()}"), soft_wrap=True)
    if len(result):
        console.print(_classes(result) if isinstance(result, ClassProbabilities) else _objects(result))


def show_models(console: Console, models: Mapping[str, ServedModel]) -> None:
    """Print one row for each model."""
    table = _table("model", "task", "images", right=("classes", "input"))
    for name, model in models.items():
        height, width = model.imgsz
        formats = ", ".join(model.image_formats)
        table.add_row(name, model.task.value, formats, str(len(model.labels)), f"{width} x {height}")
    console.print(table)


def _classes(result: ClassProbabilities) -> Table:
    table = _table("class", right=("probability",))
    for one in result.top():
        table.add_row(one.class_name, f"{one.confidence:.4f}")
    return table


def _objects(found: Found) -> Table:
    columns = _columns(found)
    table = _table("class", right=("confidence", *columns))
    for name, confidence, *values in zip(found.class_name, found.confidence, *columns.values(), strict=True):
        table.add_row(str(name), f"{confidence:.3f}", *values)
    return table


def _columns(found: Found) -> dict[str, list[str]]:
    """Return where the objects are: a column's texts by its name."""
    if isinstance(found, OrientedBoxes):
        texts = _pixels(("centre x", "centre y", "width", "height"), found.xywhr[:, :4])
        return {**texts, "degrees": [f"{angle:.1f}" for angle in np.degrees(found.xywhr[:, 4])]}
    texts = _pixels(("x1", "y1", "x2", "y2"), found.xyxy)
    if isinstance(found, Segmentations):
        texts["pixels"] = [str(rle.decode_counts(runs)[1::2].sum()) for runs in found.rle]
    if isinstance(found, Poses):
        seen = (found.visibility > VISIBLE).sum(axis=1)
        texts["keypoints"] = [f"{number} of {found.keypoints.shape[1]}" for number in seen]
    return texts


def _pixels(names: Sequence[str], values: npt.NDArray[np.float32]) -> dict[str, list[str]]:
    return {name: [f"{value:.1f}" for value in column] for name, column in zip(names, values.T, strict=True)}


def _table(*left: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table
