# SPDX-License-Identifier: AGPL-3.0-or-later
"""Make the batch axis of an ONNX network the one axis that varies.

Whether that was honest is not judged here: the result is run against the file as it was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import numpy_helper

from yolov8_export.imgsz import Size

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
