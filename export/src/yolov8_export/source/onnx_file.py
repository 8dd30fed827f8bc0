# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read a given `.onnx` file and its description, without torch and Ultralytics."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError

from yolov8_contract.errors import ConfigError
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.errors import OptionError, UnsupportedError, WeightsError
from yolov8_export.overrides import ModelOverrides, Size, check_stride
from yolov8_export.progress import Progress
from yolov8_export.runtime import in_batches_of, onnx_runner
from yolov8_export.source.families import task_of_head
from yolov8_export.source.onnx_graph import Graph, GraphTensor, read_graph
from yolov8_export.source.original import Original, Source, sha256_of
from yolov8_export.ultralytics_metadata import read_metadata, stable_metadata

DEFAULT_STRIDE = 32
_EXPORT_AGAIN = "export it again: yolo export format=onnx dynamic=True opset=18, without nms and half"


def read_onnx(path: Path, overrides: ModelOverrides, progress: Progress) -> Original:
    """Read a given `.onnx` file.

    Raises:
        WeightsError: The file is damaged, or not an ONNX file.
        OptionError: A fact is neither in its metadata nor in ``overrides``, or they contradict each other.
        UnsupportedError: The network can't be served.
    """
    with progress.step(f"Reading {path}"):
        network = load_onnx(path)
        graph = read_graph(network)
        model, stride, source = _described(path, graph, overrides)
        batch = graph.inputs[0].dims[0]
        run = in_batches_of(batch if isinstance(batch, int) else 1, onnx_runner(network, called=str(path)))
        outputs = run(np.zeros((1, 3, *model.imgsz), np.float32))
    return Original(
        onnx=network,
        model=model,
        stride=stride,
        source=source,
        output_shapes=tuple(output.shape[1:] for output in outputs),
        metadata={key: str(value) for key, value in stable_metadata(model, stride).items()},
        run=run,
        reference="given file",
    )


def load_onnx(path: Path) -> ir.Model:
    """Load an ONNX file, with weights that are in files beside it.

    Raises:
        WeightsError: The file is damaged, or not an ONNX file.
    """
    try:
        network = ir.from_proto(onnx.load(path))
    except (DecodeError, ValueError, OSError, ir.serde.SerdeError) as exc:
        raise WeightsError(f"{path}: no ONNX file, or damaged: {' '.join(str(exc).split())[:200]}") from exc
    if not network.graph.outputs:
        raise WeightsError(f"{path}: no ONNX file, or damaged: it contains no network")
    return network


def _described(path: Path, graph: Graph, overrides: ModelOverrides) -> tuple[ServedModel, int, Source]:
    """Return the model that a network was trained for, the stride of its input, and where it comes from."""
    metadata = read_metadata(graph.metadata)
    _refuse_chosen(path, graph, metadata)
    task = _task(path, metadata, overrides)
    stride = _stride(metadata, task)
    try:
        model = ServedModel(
            task=task,
            labels=_labels(path, metadata, overrides),
            imgsz=_imgsz(path, _images(path, graph), metadata, overrides, stride),
            kpt_shape=_kpt_shape(path, metadata, overrides) if task is Task.POSE else None,
        )
    except ConfigError as exc:
        raise OptionError(f"{path}: {exc}") from exc
    source = Source(
        path=path,
        sha256=sha256_of(path),
        format="onnx",
        architecture=_architecture(str(metadata.get("description", ""))),
        head=metadata.get("head"),
        trained_with=metadata.get("version"),
    )
    return model, stride, source


def _refuse_chosen(path: Path, graph: Graph, metadata: Mapping[str, Any]) -> None:
    """Refuse networks that output the boxes that NMS has chosen, and not all anchors."""
    arguments = metadata.get("args")
    nms = isinstance(arguments, dict) and bool(arguments.get("nms"))
    if isinstance(head := metadata.get("head"), str):
        task_of_head(head, end_to_end=bool(metadata.get("end2end")) and not nms)
    first = graph.outputs[0].dims
    rows = len(first) == 3 and all(isinstance(dim, int) for dim in first[1:]) and first[1:] >= (6, 6)
    if nms or metadata.get("end2end") or (rows and first[2] < first[1]):  # type: ignore[operator]  # ints, see above
        raise UnsupportedError(
            f"{path}: outputs {graph.outputs[0]}, boxes that NMS inside the network has chosen; thresholds are "
            f"parameters of each request here, so it must output all anchors: {_EXPORT_AGAIN}"
        )


def _images(path: Path, graph: Graph) -> GraphTensor:
    images = graph.inputs[0] if len(graph.inputs) == 1 else None
    if images is None or len(images.dims) != 4 or (images.name, images.dtype) != ("images", "FLOAT"):
        raise UnsupportedError(
            f"{path}: expected one input, images FLOAT [batch, 3, height, width], "
            f"got {', '.join(map(str, graph.inputs)) or 'none'}; {_EXPORT_AGAIN}"
        )
    return images


def _task(path: Path, metadata: Mapping[str, Any], overrides: ModelOverrides) -> Task:
    said = metadata.get("task")
    if said is None and overrides.task is None:
        raise OptionError(f"{path}: has no metadata of Ultralytics; say --task and --labels")
    if said is None:
        assert overrides.task is not None  # else raised above
        return overrides.task
    if said not in {task.value for task in Task}:
        raise UnsupportedError(f"{path}: its task is {said!r}, served are {[task.value for task in Task]}")
    if overrides.task not in (None, Task(said)):
        raise OptionError(f"--task {overrides.task.value}: {path} says of itself that its task is {said!r}")
    return Task(said)


def _labels(path: Path, metadata: Mapping[str, Any], overrides: ModelOverrides) -> tuple[str, ...]:
    names = metadata.get("names")
    if overrides.labels is not None:
        if isinstance(names, dict) and len(names) != len(overrides.labels):
            raise OptionError(f"--labels: {path} has {len(names)} classes, got {len(overrides.labels)} names")
        return overrides.labels
    if not isinstance(names, dict) or sorted(names) != list(range(len(names))):
        raise OptionError(f"{path}: its metadata has no class names; say --labels")
    return tuple(str(names[index]) for index in range(len(names)))


def _kpt_shape(path: Path, metadata: Mapping[str, Any], overrides: ModelOverrides) -> tuple[int, int]:
    said = metadata.get("kpt_shape")
    if overrides.kpt_shape is not None and (said is None or tuple(said) == overrides.kpt_shape):
        return overrides.kpt_shape
    if said is None or overrides.kpt_shape is not None:
        raise OptionError(f"--kpt-shape: {path} says of itself {said}, got {overrides.kpt_shape}")
    points, values = said
    return int(points), int(values)


def _imgsz(
    path: Path, images: GraphTensor, metadata: Mapping[str, Any], overrides: ModelOverrides, stride: int
) -> Size:
    height, width = images.dims[2:]
    if isinstance(height, int) and isinstance(width, int):
        if overrides.imgsz not in (None, (height, width)):
            raise OptionError(f"--imgsz: {path} takes images of {height},{width} and no others; {_EXPORT_AGAIN}")
        return height, width
    said = overrides.imgsz or metadata.get("imgsz")
    if said is None:
        raise OptionError(f"{path}: takes images of any size; say --imgsz")
    height, width = said
    check_stride((int(height), int(width)), stride)
    return int(height), int(width)


def _architecture(description: str) -> str | None:
    """Return the name in Ultralytics' description: ``Ultralytics YOLOv8n-seg model trained on coco.yaml``."""
    found = re.match(r"Ultralytics (\S+) model", description)
    return found[1] if found else None


def _stride(metadata: Mapping[str, Any], task: Task) -> int:
    return int(metadata.get("stride", 1 if task is Task.CLASSIFY else DEFAULT_STRIDE))
