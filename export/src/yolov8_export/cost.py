# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a network costs: operations and memory of one image, read from its ONNX graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a network takes.

    Attributes:
        operations: Multiplications and additions for one image.
        weight_bytes: Of all weights.
        activation_bytes: The most that is alive at once for one image; engines that fuse layers need less.
    """

    operations: int
    weight_bytes: int
    activation_bytes: int


def read_cost(path: Path) -> Cost:
    """Read what an ONNX file costs."""
    file = onnx.shape_inference.infer_shapes(_for_one_image(onnx.load(path)), data_prop=True)
    graph = file.graph
    weights = {weight.name: weight for weight in graph.initializer}
    sizes = {value.name: _size(value) for value in (*graph.input, *graph.output, *graph.value_info)}
    # Weights of lower precision are stored in front of what restores them.
    stored = {node.output[0]: node.input[0] for node in graph.node if node.op_type in ("DequantizeLinear", "Cast")}
    operations = 0
    for node in graph.node:
        kernels = [weights[name] for name in (stored.get(name, name) for name in node.input[1:2]) if name in weights]
        if node.op_type in _WEIGHTED and kernels:
            # Each output value sums over the kernel's other axes.
            dims = tuple(kernels[0].dims)
            operations += 2 * sizes.get(node.output[0], (0, 0))[0] * int(np.prod(dims)) // max(dims[0], 1)
    held = sum(len(weight.raw_data) or onnx.numpy_helper.to_array(weight).nbytes for weight in weights.values())
    return Cost(operations=operations, weight_bytes=held, activation_bytes=_peak(graph, sizes))


def _for_one_image(file: onnx.ModelProto) -> onnx.ModelProto:
    for value in (*file.graph.input, *file.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return file


def _size(value: onnx.ValueInfoProto) -> tuple[int, int]:
    """Return how many values a tensor has, and their bytes; 0 where it is not known."""
    kind = value.type.tensor_type
    count = int(np.prod([dim.dim_value for dim in kind.shape.dim], dtype=np.int64))
    return count, count * onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize if kind.elem_type else 0


def _peak(graph: onnx.GraphProto, sizes: dict[str, tuple[int, int]]) -> int:
    last_use = {name: index for index, node in enumerate(graph.node) for name in node.input}
    alive = {value.name for value in graph.input}
    most = 0
    for index, node in enumerate(graph.node):
        alive.update(node.output)
        most = max(most, sum(sizes.get(name, (0, 0))[1] for name in alive))
        alive = {name for name in alive if last_use.get(name, len(graph.node)) > index}
    return most
