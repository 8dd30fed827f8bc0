# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trace a checkpoint into ONNX with the batch axis alone dynamic."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch

from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.checkpoint import Checkpoint
from yolov8_export.facts import DEFAULT_OPSET
from yolov8_export.graph import MAX_IR_VERSION
from yolov8_export.metadata import stable_metadata

BATCH = "batch"


def trace(checkpoint: Checkpoint, model: ServedModel, path: Path, *, opset: int = DEFAULT_OPSET) -> None:
    """Write a checkpoint's network to ``path``, with Ultralytics' metadata.

    Inputs and outputs are named as Ultralytics names them: ``images``, ``output0``, for masks also ``output1``.
    """
    module = _for_export(checkpoint.module)
    images = torch.zeros(1, 3, *model.imgsz)
    with torch.no_grad():
        module(images)  # anchors are made on the first call: they become constants of the graph
        outputs = module(images)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    names = [f"output{index}" for index in range(len(outputs))]
    with torch.no_grad(), warnings.catch_warnings():
        # The tracer is deprecated in favour of one that makes the anchors dynamic; its warnings help no user.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (images,),
            path,
            opset_version=opset,
            input_names=["images"],
            output_names=names,
            dynamic_axes={name: {0: BATCH} for name in ("images", *names)},
            dynamo=False,
        )
    _finish(path, [tuple(output.shape[1:]) for output in outputs], _metadata(checkpoint, model))


def _for_export(loaded: Any) -> Any:
    """Return a copy that puts out predictions alone, with BatchNorm folded into the convolutions."""
    module = copy.deepcopy(loaded).fuse(verbose=False)
    for part in module.modules():
        if hasattr(part, "export"):
            part.export = True
        if hasattr(part, "format"):
            part.format = "onnx"
        if hasattr(part, "forward_split"):
            part.forward = part.forward_split  # the same sum; chunk() traces into shape arithmetic
    return module


def _finish(path: Path, shapes: list[tuple[int, ...]], metadata: dict[str, str]) -> None:
    """Write what the tracer leaves open: numbers for the outputs' axes (Triton compares them), and metadata."""
    graph = onnx.load(path)
    for output, shape in zip(graph.graph.output, shapes, strict=True):
        dims = output.type.tensor_type.shape.dim
        for dim, length in zip(dims[1:], shape, strict=True):
            dim.dim_value = length
    graph.ir_version = min(graph.ir_version, MAX_IR_VERSION)
    onnx.helper.set_model_props(graph, metadata)
    onnx.save(graph, path)


def _metadata(checkpoint: Checkpoint, model: ServedModel) -> dict[str, str]:
    values = stable_metadata(model, checkpoint.stride)
    values |= {
        "description": f"{checkpoint.source.architecture or 'YOLO'} exported by yolov8-triton",
        "author": "Ultralytics",
        "license": "AGPL-3.0 License (https://ultralytics.com/license)",
        "version": checkpoint.source.trained_with or "",
        "head": checkpoint.source.head,
        "args": {"batch": 1, "dynamic": False, "nms": None},
    }
    if model.task is Task.POSE and (names := getattr(checkpoint.module, "kpt_names", None)):
        values["kpt_names"] = names
    return {key: str(value) for key, value in values.items()}
