# SPDX-License-Identifier: AGPL-3.0-or-later
"""Let a network put out, of each anchor, the best score and its class in place of the scores of all classes.

With 80 classes 0.2 MB of an image's anchors travel between network and postprocess, not 2.8. Nothing is lost: of an
anchor's classes postprocess (as Ultralytics' predict) looks at the best alone, and all that a request may ask for
comes after that. Ultralytics' own client can't use such a network: it would take the class for a second score.

Let a network take the pixels of a letterboxed image: scaling and transposing become part of its graph.

A quarter of the bytes travels between preprocess and network. Ultralytics' own client can't use such a network: it
would cast its values from 0 to 1 to whole numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from yolov8_contract.candidates import BOX_ROWS
from yolov8_export.errors import OptionError

MIN_OPSET = 13
"""Split and ReduceSum take sizes and axes as inputs from there on."""

OUTPUT = "output0"
_RAW = "output0_of_all_classes"
_BEST_ROWS = 2


def check_opset(opset: int) -> None:
    """Refuse a network whose opset is too old.

    Raises:
        OptionError: It is.
    """
    if opset < MIN_OPSET:
        raise OptionError(
            f"--network-output best-class: needs opset {MIN_OPSET}, the network has {opset}; "
            "export the checkpoint with --opset 18"
        )


def reduce_to_best_class(path: Path, num_classes: int) -> None:
    """Make of ``output0`` FLOAT [batch, 4 + classes + extra, anchors] one of 4 + 2 + extra rows, in place.

    The two are the best score, and the index of its class as a float: of equal scores the first, as in numpy. It is
    split off the output and not taken from what the graph joins there: that depends on who wrote the graph, and
    joining costs a fifth of a millisecond on one core of a CPU.
    """
    file = onnx.load(path)
    graph = file.graph
    (output,) = [value for value in graph.output if value.name == OUTPUT]
    rows = output.type.tensor_type.shape.dim[1]
    extra = rows.dim_value - BOX_ROWS - num_classes
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == OUTPUT:
                    names[index] = _RAW
    rows.dim_value = BOX_ROWS + _BEST_ROWS + extra
    sizes = [BOX_ROWS, num_classes, extra] if extra else [BOX_ROWS, num_classes]
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(sizes), "best_class_sizes"),
            numpy_helper.from_array(np.array([1]), "best_class_axis"),
            numpy_helper.from_array(np.array(0, np.float32), "best_class_zero"),
        ]
    )
    graph.node.extend(_nodes(has_extra=extra > 0))
    onnx.checker.check_model(file)
    onnx.save(file, path)


def _nodes(*, has_extra: bool) -> list[onnx.NodeProto]:
    extra = ["best_class_extra"] if has_extra else []
    joined = ["best_class_boxes", "best_class_score", "best_class_index", *extra]
    return [
        _node("Split", [_RAW, "best_class_sizes"], ["best_class_boxes", "best_class_scores", *extra], axis=1),
        _node("ArgMax", ["best_class_scores"], ["best_class_at"], axis=1, keepdims=1, select_last_index=0),
        # Reading the score where ArgMax points is faster than a second search, and is the score of that class.
        _node("GatherElements", ["best_class_scores", "best_class_at"], ["best_class_found"], axis=1),
        # ArgMax passes over NaN, numpy does not: nothing times a sum with NaN is NaN, and else nothing.
        _node("ReduceSum", ["best_class_scores", "best_class_axis"], ["best_class_sum"], keepdims=1),
        _node("Mul", ["best_class_sum", "best_class_zero"], ["best_class_nothing"]),
        _node("Add", ["best_class_found", "best_class_nothing"], ["best_class_score"]),
        _node("Cast", ["best_class_at"], ["best_class_index"], to=onnx.TensorProto.FLOAT),
        _node("Concat", joined, [OUTPUT], axis=1),
    ]


def _node(kind: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, outputs, f"{outputs[0]}_{kind.lower()}", **attributes)


IMAGES = "images"
_PLANES = "images_as_planes"
_WHITE = 255.0


def accept_uint8_images(path: Path) -> None:
    """Replace the input ``images`` FLOAT [batch, 3, height, width] by UINT8 [batch, height, width, 3], in place.

    Division gives what the preprocess member's gives, to the bit; multiplying by 1 / 255 would not.
    """
    file = onnx.load(path)
    graph = file.graph
    (images,) = [value for value in graph.input if value.name == IMAGES]
    batch, channels, height, width = images.type.tensor_type.shape.dim
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == IMAGES:
                node.input[index] = _PLANES
    pixels = onnx.helper.make_tensor_value_info(IMAGES, onnx.TensorProto.UINT8, [1, 1, 1, 1])
    for dim, source in zip(pixels.type.tensor_type.shape.dim, (batch, height, width, channels), strict=True):
        dim.CopyFrom(source)
    images.CopyFrom(pixels)
    # The cast comes last of what is cheap on bytes: a transpose moves a quarter of what it would move after it.
    nodes = [
        onnx.helper.make_node("Transpose", [IMAGES], ["images_transposed"], "images_transpose", perm=[0, 3, 1, 2]),
        onnx.helper.make_node("Cast", ["images_transposed"], ["images_as_floats"], "images_cast", to=1),
        onnx.helper.make_node("Div", ["images_as_floats", "images_white"], [_PLANES], "images_scale"),
    ]
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(_WHITE, np.float32), "images_white"))
    for index, node in enumerate(nodes):
        graph.node.insert(index, node)
    onnx.checker.check_model(file)
    onnx.save(file, path)
