# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which part of a network keeps its precision when the rest is reduced.

Behind a head's last convolutions, distributions become boxes in pixels: numbers up to the input's size, to a fraction
of a pixel. FP16 has steps of half a pixel there, INT8 of several. That part is next to nothing of the work.
"""

from __future__ import annotations

import onnx

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def float_tail(file: onnx.ModelProto) -> list[str]:
    """Return the names of the nodes from which no node with trained weights can be reached.

    The convolution that turns distributions into distances has one output channel and fixed weights; it belongs to
    them.
    """
    shapes = {weight.name: tuple(weight.dims) for weight in file.graph.initializer}
    leads_to_weights: set[str] = set()
    tail = []
    for node in reversed(file.graph.node):  # they are in an order in which they can be run
        weighted = node.op_type in _WEIGHTED and any(
            name in shapes and len(shapes[name]) > 1 and shapes[name][0] > 1 for name in node.input
        )
        if weighted or any(name in leads_to_weights for name in node.output):
            leads_to_weights.update(node.input)
        else:
            tail.append(node.name)
    return tail[::-1]
