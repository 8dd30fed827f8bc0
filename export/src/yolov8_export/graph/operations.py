# SPDX-License-Identifier: AGPL-3.0-or-later
"""Count the multiplications of a network."""

from __future__ import annotations

import numpy as np
import onnx

_WEIGHTED = frozenset({"Conv", "ConvInteger", "ConvTranspose", "Gemm", "MatMul", "MatMulInteger"})


def with_shapes(file: onnx.ModelProto) -> onnx.ModelProto:
    """Return a network for one image with the shapes of its intermediate tensors; the argument is changed."""
    for value in (*file.graph.input, *file.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return onnx.shape_inference.infer_shapes(file, data_prop=True)


def multiplications(file: onnx.ModelProto) -> dict[str, int]:
    """Return the multiplications of each node with weights, by the name of its first output.

    Args:
        file: A network with the shapes of its intermediate tensors, which may be quantised.
    """
    graph = file.graph
    weights = {weight.name: weight for weight in graph.initializer}
    sizes = {value.name: _size(value) for value in (*graph.input, *graph.output, *graph.value_info)}
    # A weight of lower precision is the input of the node that restores it.
    stored = {node.output[0]: node.input[0] for node in graph.node if node.op_type in ("DequantizeLinear", "Cast")}
    found = {}
    for node in graph.node:
        kernels = [weights[name] for name in (stored.get(name, name) for name in node.input[1:2]) if name in weights]
        if node.op_type in _WEIGHTED and kernels:
            # Each output value is a sum over the kernel's other axes.
            dims = tuple(kernels[0].dims)
            found[node.output[0]] = sizes.get(node.output[0], 0) * int(np.prod(dims)) // max(dims[0], 1)
    return found


def _size(value: onnx.ValueInfoProto) -> int:
    """Return the number of a tensor's values; 0 if it is unknown."""
    return int(np.prod([dim.dim_value for dim in value.type.tensor_type.shape.dim], dtype=np.int64))
