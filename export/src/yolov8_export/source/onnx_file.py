# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read a given `.onnx` file and its description, without torch and Ultralytics."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from yolov8_contract.candidates import BOX_ROWS
from yolov8_contract.errors import ConfigError
from yolov8_contract.served_model import END2END, ServedModel
from yolov8_contract.task import Task
from yolov8_export.errors import OptionError, UnsupportedError, WeightsError
from yolov8_export.overrides import ModelOverrides, Size, check_largest, check_stride
from yolov8_export.progress import Progress
from yolov8_export.runtime import in_batches_of, one_line, onnx_runner
from yolov8_export.source.families import family, task_of_head
from yolov8_export.source.onnx_graph import Graph, GraphTensor, read_graph
from yolov8_export.source.original import Original, Source, SourceFormat, sha256_of
from yolov8_export.source.values import class_names, flag, keypoints, largest, read_value, shown, size
from yolov8_export.ultralytics_metadata import NETWORK_OUTPUT, read_metadata, stable_metadata

DEFAULT_STRIDE = 32
BATCHES = range(1, 1025)
"""The fixed batch sizes of a network that can be compared with itself: each of its runs takes a whole batch."""
_CHOSEN_COLUMNS = 6
_EXPORT_AGAIN = "export it again: yolo export format=onnx dynamic=True opset=18, without nms and half"


def read_onnx(
    path: Path, overrides: ModelOverrides, progress: Progress, accept: Callable[[ServedModel], None]
) -> Original:
    """Read a given `.onnx` file; ``accept`` raises an error for a model that can't be served.

    Raises:
        WeightsError: The file is damaged, or not an ONNX file.
        OptionError, UnsupportedError: As in `described_original`.
    """
    with progress.step(f"Reading {path}"):
        network = load_onnx(path)
        return described_original(path, network, overrides, accept)


def described_original(
    path: Path,
    network: ir.Model,
    overrides: ModelOverrides,
    accept: Callable[[ServedModel], None],
    source_format: SourceFormat = "onnx",
) -> Original:
    """Return a network with what its metadata and the user say of it.

    Args:
        path: The given file.
        network: The network of that file as ONNX, with its metadata.
        overrides: What the user says.
        accept: Raises an error for a model that can't be served.
        source_format: The kind of the file.

    Raises:
        OptionError: A fact is neither in its metadata nor in ``overrides``, or they contradict each other.
        UnsupportedError: The network can't be served.
    """
    graph = read_graph(network)
    model, stride, source = described(path, graph, overrides, source_format)
    accept(model)
    batch = graph.inputs[0].dims[0]
    run = in_batches_of(batch if isinstance(batch, int) else 1, onnx_runner(network, called=str(path)))
    shapes = tuple(output.shape[1:] for output in run(np.zeros((1, 3, *model.imgsz), np.float32)))
    if model.has_nms and outputs_objects(model, shapes):
        model = replace(model, network_output=END2END)
        accept(model)
    _check_head(path, model, overrides)
    return Original(
        onnx=network,
        model=model,
        stride=stride,
        source=source,
        output_shapes=shapes,
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
    except onnx.checker.ValidationError as exc:  # raised for files that an attacker could have it read
        raise WeightsError(
            f"{path}: its weights are in another file that is not read: {one_line(exc)}; "
            "put that file, not a link to it, into the same folder, or save the network as one file"
        ) from exc
    except Exception as exc:  # the bytes of a stranger: decoders raise errors of any type
        raise WeightsError(f"{path}: no ONNX file, or damaged: {one_line(_root(exc))}") from exc
    if not network.graph.outputs:
        raise WeightsError(f"{path}: no ONNX file, or damaged: it contains no network")
    return network


def _root(exc: BaseException) -> BaseException:
    """Return the first of a chain of errors, which says what is wrong; those after it say where in the decoder."""
    while exc.__cause__ is not None:
        exc = exc.__cause__
    return exc


def described(
    path: Path, graph: Graph, overrides: ModelOverrides, source_format: SourceFormat
) -> tuple[ServedModel, int, Source]:
    """Return the model that a network was trained for, the stride of its input, and where it comes from.

    Raises:
        OptionError: A fact is neither in its metadata nor in ``overrides``, or they contradict each other.
        UnsupportedError: The network can't be served.
    """
    metadata = read_metadata(graph.metadata)
    if NETWORK_OUTPUT in metadata:
        raise UnsupportedError(
            f"{path}: its output was reduced to the best anchors, for --network-output {metadata[NETWORK_OUTPUT]}; "
            "export the file that it was made from"
        )
    network_output = END2END if _says_chosen(path, metadata) else "raw"
    task = _task(path, metadata, overrides)
    stride = _stride(path, metadata, task)
    architecture = _architecture(str(metadata.get("description", "")))
    try:
        model = ServedModel(
            task=task,
            labels=_labels(path, metadata, overrides),
            imgsz=_imgsz(path, _images(path, graph), metadata, overrides, stride),
            kpt_shape=_kpt_shape(path, metadata, overrides) if task is Task.POSE else None,
            family=family(architecture),
            precision=graph.precision,
            network_output=network_output,
        )
    except ConfigError as exc:
        raise OptionError(f"{path}: {exc}") from exc
    source = Source(
        path=path,
        sha256=sha256_of(path),
        format=source_format,
        architecture=architecture,
        head=metadata.get("head"),
        trained_with=metadata.get("version"),
    )
    return model, stride, source


def _says_chosen(path: Path, metadata: Mapping[str, Any]) -> bool:
    """Return whether the metadata say that the network outputs chosen objects, and not all anchors."""
    arguments = metadata.get("args")
    said = {"nms": arguments.get("nms") if isinstance(arguments, dict) else None, "end2end": metadata.get("end2end")}
    nms, end2end = (
        read_value(path, f"metadata {name!r}", value, flag, expected="True or False") for name, value in said.items()
    )
    if isinstance(head := metadata.get("head"), str):
        task_of_head(head)
    return nms or end2end


def outputs_objects(model: ServedModel, shapes: Sequence[tuple[int, ...]]) -> bool:
    """Return whether an output has the shape of chosen objects: a row of 4 numbers, score, class and extra for each.

    Which of the two axes is longer does not tell: a network of many classes has more rows than a small image anchors.
    """
    if model.task is Task.CLASSIFY or len(shapes[0]) != 2:
        return False
    rows, columns = shapes[0]
    extra = {Task.OBB: 1, Task.POSE: math.prod(model.kpt_shape or ())}.get(model.task, 0)
    if model.task is Task.SEGMENT and len(shapes) > 1:
        extra = shapes[1][0]
    return columns == _CHOSEN_COLUMNS + extra and rows != BOX_ROWS + len(model.labels) + extra


def _check_head(path: Path, model: ServedModel, overrides: ModelOverrides) -> None:
    """Refuse a choice of the head that differs from the one with which the file was exported."""
    wanted, has = overrides.head, "one2many" if model.has_nms else "one2one"
    if wanted not in (None, has):
        raise OptionError(f"--head {wanted}: {path} was exported with the output of {has}; export the checkpoint")


def _images(path: Path, graph: Graph) -> GraphTensor:
    images = graph.inputs[0] if len(graph.inputs) == 1 else None
    is_named = images is not None and (images.name, images.dtype) == ("images", "FLOAT")
    has_axes = images is not None and len(images.dims) == 4 and images.dims[1] in (3, *_names(images))
    if images is None or not is_named or not has_axes or images.dims[0] not in (*BATCHES, *_names(images)):
        raise UnsupportedError(
            f"{path}: expected one input, images FLOAT [batch, 3, height, width], "
            f"got {', '.join(map(str, graph.inputs)) or 'none'}; {_EXPORT_AGAIN}"
        )
    return images


def _names(images: GraphTensor) -> list[str]:
    return [dim for dim in images.dims if isinstance(dim, str)]


def _task(path: Path, metadata: Mapping[str, Any], overrides: ModelOverrides) -> Task:
    said = metadata.get("task")
    if said is None and overrides.task is None:
        raise OptionError(f"{path}: has no metadata of Ultralytics; say --task and --labels")
    if said is None:
        assert overrides.task is not None  # else raised above
        return overrides.task
    if said not in {task.value for task in Task}:
        raise UnsupportedError(f"{path}: its task is {shown(said)}, served are {[task.value for task in Task]}")
    if overrides.task not in (None, Task(said)):
        raise OptionError(f"--task {overrides.task.value}: {path} says of itself that its task is {said!r}")
    return Task(said)


def _labels(path: Path, metadata: Mapping[str, Any], overrides: ModelOverrides) -> tuple[str, ...]:
    names = metadata.get("names")
    if overrides.labels is not None:
        if isinstance(names, dict | list) and len(names) != len(overrides.labels):
            raise OptionError(f"--labels: {path} has {len(names)} classes, got {len(overrides.labels)} names")
        return overrides.labels
    if names is None:
        raise OptionError(f"{path}: its metadata has no class names; say --labels")
    expected = "a list, or a dictionary of names by class id, from 0"
    return read_value(path, "metadata 'names'", names, class_names, expected=expected, option="--labels")


def _kpt_shape(path: Path, metadata: Mapping[str, Any], overrides: ModelOverrides) -> tuple[int, int]:
    said, wanted = metadata.get("kpt_shape"), overrides.kpt_shape
    if wanted is not None and (said is None or _is_malformed(said)):
        return wanted
    if said is None:
        raise OptionError(f"{path}: its metadata has no kpt_shape; say --kpt-shape, such as 17,3")
    shape = read_value(path, "metadata 'kpt_shape'", said, keypoints, expected="[points, 2 or 3]", option="--kpt-shape")
    if wanted not in (None, shape):
        raise OptionError(f"--kpt-shape: {path} says of itself {shape}, got {wanted}")
    return shape


def _is_malformed(kpt_shape: object) -> bool:
    try:
        keypoints(kpt_shape)
    except (ValueError, TypeError):
        return True
    return False


def _imgsz(
    path: Path, images: GraphTensor, metadata: Mapping[str, Any], overrides: ModelOverrides, stride: int
) -> Size:
    height, width = images.dims[2:]
    if isinstance(height, int) and isinstance(width, int):
        if overrides.imgsz not in (None, (height, width)):
            raise OptionError(f"--imgsz: {path} takes images of {height},{width} and no others; {_EXPORT_AGAIN}")
        check_largest((height, width))
        return height, width
    said = overrides.imgsz or metadata.get("imgsz")
    if said is None:
        raise OptionError(f"{path}: takes images of any size; say --imgsz")
    expected = "pixels such as 640 or [480, 640]"
    imgsz = read_value(path, "metadata 'imgsz'", said, size, expected=expected, option="--imgsz")
    check_stride(imgsz, stride)
    return imgsz


def _architecture(description: str) -> str | None:
    """Return the name in Ultralytics' description: ``Ultralytics YOLOv8n-seg model trained on coco.yaml``."""
    found = re.match(r"Ultralytics (\S+) model", description)
    return found[1] if found else None


def _stride(path: Path, metadata: Mapping[str, Any], task: Task) -> int:
    said = metadata.get("stride", 1 if task is Task.CLASSIFY else DEFAULT_STRIDE)
    return read_value(path, "metadata 'stride'", said, largest, expected="pixels such as 32")
