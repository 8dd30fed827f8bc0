# SPDX-License-Identifier: Apache-2.0
"""ONNX files with the heads of YOLOv8 and next to nothing in front: they load and run in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from yolov8_contract.task import Task

IMGSZ = (32, 64)
LABELS = ("cat", 'an "ox"', "Größe 猫 \\ 'q'")
KPT_SHAPE = (2, 3)
MASKS = 4
CELL = 8
"""Pixels of an anchor's side, and of four mask pixels."""

EXTRA = {Task.DETECT: 0, Task.SEGMENT: MASKS, Task.POSE: KPT_SHAPE[0] * KPT_SHAPE[1], Task.OBB: 1}
Dim = int | str


def metadata(task: Task, /, **changes: Any) -> dict[str, str]:
    """What Ultralytics would write into the file; None leaves an entry out."""
    said: dict[str, Any] = {
        "description": "Ultralytics YOLOv8n model trained on shapes.yaml",
        "version": "8.4.190",
        "task": task.value,
        "head": {Task.OBB: "OBB"}.get(task, task.value.capitalize()),
        "stride": 1 if task is Task.CLASSIFY else CELL,
        "imgsz": list(IMGSZ),
        "names": dict(enumerate(LABELS)),
        "args": {"nms": None, "dynamic": False},
        "end2end": False,
    }
    if task is Task.POSE:
        said["kpt_shape"] = list(KPT_SHAPE)
    return {key: str(value) for key, value in (said | changes).items() if value is not None}


def write_onnx(
    path: Path,
    task: Task = Task.DETECT,
    *,
    props: Mapping[str, str] | None = None,
    batch: Dim = "batch",
    size: tuple[Dim, Dim] = IMGSZ,
    activation: str = "Sigmoid",
    scale_px: float = 64.0,
    name: str = "images",
    opset: int = 18,
    ir_version: int = 8,
    classes: int = len(LABELS),
) -> Path:
    """Write a network of a task; by default as export wants it."""
    is_classifier = task is Task.CLASSIFY
    nodes, weights, outputs = _classifier() if is_classifier else _detector(task, batch, activation, scale_px, classes)
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], ["in"]), *nodes],
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3, *size])],
        [helper.make_tensor_value_info(f"output{i}", TensorProto.FLOAT, [batch, *s]) for i, s in enumerate(outputs)],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    helper.set_model_props(model, dict(metadata(task) if props is None else props))
    onnx.save(model, path)
    return path


def shapes(task: Task, classes: int = len(LABELS)) -> tuple[tuple[int, ...], ...]:
    """Shapes of a network's outputs without the batch axis."""
    if task is Task.CLASSIFY:
        return ((len(LABELS),),)
    anchors = (IMGSZ[0] // CELL) * (IMGSZ[1] // CELL)
    head = (4 + classes + EXTRA[task], anchors)
    return (head, (MASKS, IMGSZ[0] * 2 // CELL, IMGSZ[1] * 2 // CELL)) if task is Task.SEGMENT else (head,)


Graph = tuple[list[onnx.NodeProto], list[onnx.TensorProto], Sequence[Sequence[Dim]]]


def _detector(task: Task, batch: Dim, activation: str, scale_px: float, classes: int) -> Graph:
    rows = {"boxes": 4, "scores": classes, "extra": EXTRA[task]}
    rows = {part: count for part, count in rows.items() if count}
    weights = [_weight(part, (count, 3, 1, 1)) for part, count in rows.items()]
    extra = ["extra_raw"] if "extra" in rows else []
    # A batch that varies is written as -1, as torch's tracer has it; a fixed one as its number.
    shape = [batch if isinstance(batch, int) else -1, sum(rows.values()), (IMGSZ[0] // CELL) * (IMGSZ[1] // CELL)]
    weights += [numpy_helper.from_array(np.array(shape), "shape"), _constant("scale_px", scale_px)]
    nodes = [helper.make_node("AveragePool", ["in"], ["cells"], kernel_shape=[CELL] * 2, strides=[CELL] * 2)]
    nodes += [helper.make_node("Conv", ["cells", part], [f"{part}_raw"]) for part in rows]
    nodes += [
        helper.make_node("Mul", ["boxes_raw", "scale_px"], ["boxes_out"]),
        helper.make_node(activation, ["scores_raw"], ["scores_out"]),
        helper.make_node("Concat", ["boxes_out", "scores_out", *extra], ["cat"], axis=1),
        helper.make_node("Reshape", ["cat", "shape"], ["output0"]),
    ]
    if task is Task.SEGMENT:
        weights.append(_weight("masks", (MASKS, 3, 1, 1)))
        half = CELL // 2
        nodes.append(helper.make_node("AveragePool", ["in"], ["quarter"], kernel_shape=[half] * 2, strides=[half] * 2))
        nodes.append(helper.make_node("Conv", ["quarter", "masks"], ["output1"]))
    return nodes, weights, shapes(task, classes)


def _classifier() -> Graph:
    nodes = [
        helper.make_node("GlobalAveragePool", ["in"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("MatMul", ["flat", "classes"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["output0"], axis=1),
    ]
    return nodes, [_weight("classes", (3, len(LABELS)))], shapes(Task.CLASSIFY)


def _weight(name: str, shape: tuple[int, ...]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.random.default_rng(len(name)).random(shape, np.float32) + 0.1, name)


def _constant(name: str, value: float) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, np.float32), name)
