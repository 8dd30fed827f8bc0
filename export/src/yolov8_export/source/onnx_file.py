# SPDX-License-Identifier: AGPL-3.0-or-later
"""Take a ready `.onnx` file: read what it says of itself, and make its batch axis the only one that varies.

Neither torch nor ultralytics is imported.

Make the batch axis of an ONNX network the one axis that varies.

Whether that was honest is not judged here: the result is run against the file as it was given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from yolov8_contract.errors import ConfigError
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.errors import OptionError, UnsupportedError, WeightsError
from yolov8_export.graph.network import MAX_IR_VERSION, Graph, GraphTensor, Source, read_graph, sha256_of
from yolov8_export.overrides import ModelOverrides, Size, check_stride
from yolov8_export.source.families import task_of_head
from yolov8_export.ultralytics_metadata import read_metadata, stable_metadata

DEFAULT_STRIDE = 32
_EXPORT_AGAIN = "export it again: yolo export format=onnx dynamic=True opset=18, without nms and half"


def load_onnx(path: Path) -> onnx.ModelProto:
    """Parse an ONNX file, with weights that lie in files beside it.

    Raises:
        WeightsError: It is damaged, or is none.
    """
    try:
        file = onnx.load(path)
    except (DecodeError, ValueError, OSError) as exc:
        raise WeightsError(f"{path}: no ONNX file, or damaged: {' '.join(str(exc).split())[:200]}") from exc
    if not file.graph.output:
        raise WeightsError(f"{path}: no ONNX file, or damaged: it holds no network")
    return file


def describe(path: Path, file: onnx.ModelProto, overrides: ModelOverrides) -> tuple[ServedModel, int, Source]:
    """Return what an ONNX file was trained for, the stride of its input, and where it comes from.

    Raises:
        OptionError: Something is neither in its metadata nor in ``overrides``, or they contradict each other.
        UnsupportedError: It is none that can be served.
    """
    graph = read_graph(file)
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
    """Refuse networks that put out chosen boxes and not all anchors."""
    arguments = metadata.get("args")
    nms = isinstance(arguments, dict) and bool(arguments.get("nms"))
    if isinstance(head := metadata.get("head"), str):
        task_of_head(head, end_to_end=bool(metadata.get("end2end")) and not nms)
    first = graph.outputs[0].dims
    rows = len(first) == 3 and all(isinstance(dim, int) for dim in first[1:]) and first[1:] >= (6, 6)
    if nms or metadata.get("end2end") or (rows and first[2] < first[1]):  # type: ignore[operator]  # ints, see above
        raise UnsupportedError(
            f"{path}: puts out {graph.outputs[0]}, boxes that NMS inside the network has chosen; thresholds are "
            f"parameters of each request here, so it must put out all anchors: {_EXPORT_AGAIN}"
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
    """Ultralytics writes ``Ultralytics YOLOv8n-seg model trained on coco.yaml``."""
    found = re.match(r"Ultralytics (\S+) model", description)
    return found[1] if found else None


def _stride(metadata: Mapping[str, Any], task: Task) -> int:
    return int(metadata.get("stride", 1 if task is Task.CLASSIFY else DEFAULT_STRIDE))


def batch_size(file: onnx.ModelProto) -> int:
    """Return how many images a file takes at once; 1 where that varies."""
    dim = read_graph(file).inputs[0].dims[0]
    return dim if isinstance(dim, int) else 1


def make_servable(
    file: onnx.ModelProto, model: ServedModel, stride: int, output_shapes: Sequence[Sequence[int]], path: Path
) -> None:
    """Write a file to ``path`` with its batch axis, and no other, dynamic, and with Ultralytics' metadata.

    Args:
        file: Is changed.
        model: What it was trained for.
        stride: Of its input.
        output_shapes: Shapes that a run of it has shown, without the batch axis, in the order of the outputs' names.
        path: Where it goes.
    """
    names = sorted(output.name for output in file.graph.output)
    free_batch_axis(file, model.imgsz)
    set_output_shapes(file, dict(zip(names, output_shapes, strict=True)))
    file.ir_version = min(file.ir_version, MAX_IR_VERSION)  # what it holds beyond shows when it runs
    _add_metadata(file, model, stride)
    onnx.save(file, path)


def _add_metadata(file: onnx.ModelProto, model: ServedModel, stride: int) -> None:
    """Add what Ultralytics would look for and the file does not say."""
    said = {entry.key for entry in file.metadata_props}
    for key, value in stable_metadata(model, stride).items():
        if key not in said:
            file.metadata_props.add(key=key, value=str(value))


BATCH = "batch"
_COPY = 0
"""In the shape that a Reshape is given: this axis as it comes in."""


def free_batch_axis(file: onnx.ModelProto, imgsz: Size) -> None:
    """Give the input's height and width as numbers, and let its batch axis vary.

    Where the batch was fixed, it also stands in the shapes that Reshape nodes are given, as the first number.
    """
    images = next(value for value in file.graph.input if not _is_weight(file.graph, value.name))
    dims = images.type.tensor_type.shape.dim
    fixed = dims[0].dim_value
    if fixed:
        _free_reshapes(file.graph, fixed)
    dims[0].dim_param = BATCH
    for dim, length in zip(dims[1:], (3, *imgsz), strict=True):
        dim.dim_value = length
    del file.graph.value_info[:]  # what was known of shapes in between holds no longer


def set_output_shapes(file: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """Write the outputs' shapes behind the batch axis, as a run has shown them: Triton compares them."""
    for output in file.graph.output:
        dims = output.type.tensor_type.shape.dim
        del dims[:]
        dims.add(dim_param=BATCH)
        for length in shapes[output.name]:
            dims.add(dim_value=length)


def _free_reshapes(graph: onnx.GraphProto, batch: int) -> None:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
    for index, node in enumerate(graph.node):
        if node.op_type != "Reshape" or node.input[1] not in constants:
            continue
        shape = np.array(numpy_helper.to_array(constants[node.input[1]]))
        if shape.size > 1 and shape[0] == batch:
            shape[0] = _COPY
            name = f"free_batch_{index}"  # of its own: others may share the constant
            graph.initializer.append(numpy_helper.from_array(shape, name))
            node.input[1] = name


def _is_weight(graph: onnx.GraphProto, name: str) -> bool:
    return any(tensor.name == name for tensor in graph.initializer)
