# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read the inputs, outputs and versions of an ONNX network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from yolov8_contract.signature import Head
from yolov8_export.errors import UnsupportedError

Dim = int | str
"""The length of an axis, or its name if the length varies."""


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """One input or output with its batch axis; ``dtype`` is ONNX' name, such as ``FLOAT16``."""

    name: str
    dtype: str
    dims: tuple[Dim, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} [{', '.join(map(str, self.dims))}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The inputs, outputs, versions and metadata of an ONNX network; ``precision`` is fp32, fp16 or int8."""

    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]
    opset: int
    ir_version: int
    precision: str
    metadata: dict[str, str]

    @property
    def head(self) -> Head:
        """The shapes of the outputs without the batch axis.

        Raises:
            UnsupportedError: The length of another axis than the batch axis varies.
        """
        return tuple(tuple(_length(tensor, dim) for dim in tensor.dims[1:]) for tensor in self.outputs)


def read_graph(network: ir.Model) -> Graph:
    """Return the description of an ONNX network."""
    graph = network.graph
    opsets = [version for domain, version in network.opset_imports.items() if domain in ("", "ai.onnx")]
    return Graph(
        inputs=tuple(_tensor(value) for value in image_inputs(network)),
        outputs=tuple(_tensor(value) for value in graph.outputs),
        opset=max(opsets, default=1),
        ir_version=network.ir_version,
        precision=_precision(graph),
        metadata=dict(network.metadata_props),
    )


def image_inputs(network: ir.Model) -> Iterable[ir.Value]:
    """Return the inputs that have no value; old exporters list initialisers as inputs, too."""
    return [value for value in network.graph.inputs if value.name not in network.graph.initializers]


def _tensor(value: ir.Value) -> GraphTensor:
    dims = tuple(dim if isinstance(dim, int) else dim.value or "?" for dim in value.shape or ())
    return GraphTensor(value.name or "", value.dtype.name if value.dtype else "UNDEFINED", dims)


def _precision(graph: ir.Graph) -> str:
    """Return the precision of most of the arithmetic; inputs and outputs may be of another type."""
    if any(node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear") for node in graph):
        return "int8"
    half = any(weight.dtype is ir.DataType.FLOAT16 for weight in graph.initializers.values())
    return "fp16" if half else "fp32"


def _length(tensor: GraphTensor, dim: Dim) -> int:
    if isinstance(dim, str):
        raise UnsupportedError(f"output {tensor}: {dim!r} is no number, and only the batch axis may vary")
    return dim
