# SPDX-License-Identifier: AGPL-3.0-or-later
"""Hold a network in memory, and check its tensors against the contract."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from yolov8_contract import signature
from yolov8_contract.errors import ConfigError
from yolov8_contract.served_model import ServedModel
from yolov8_contract.signature import Head
from yolov8_contract.tensors import DataType, Signature, TensorSpec
from yolov8_export.errors import UnsupportedError
from yolov8_export.source.onnx_graph import Graph, GraphTensor, read_graph
from yolov8_export.source.original import Source

MAX_OPSET = 21
MAX_IR_VERSION = 10
"""ONNX Runtime 1.19, the one in Triton 24.10, reads no newer version."""

_DATA_TYPES = {"FLOAT": DataType.FP32, "UINT8": DataType.UINT8, "INT32": DataType.INT32}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedNetwork:
    """A network whose tensors are what the contract says.

    Attributes:
        model: The task, classes and input size of the network.
        head: The shapes of its outputs without the batch axis.
        stride: Height and width of an input must be multiples of this number of pixels.
        source: The weights.
        precision: The precision that the engine computes in: fp32, fp16, bf16 or int8.
        engine_files: Files and folders that the engine loads in place of the ONNX file.
    """

    model: ServedModel
    head: Head
    stride: int
    source: Source
    precision: str
    engine_files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Network(ServedNetwork):
    """A network in ONNX, from which those of other engines are made.

    Attributes:
        onnx: The ONNX network.
        opset: The version of ONNX' operators.
        ir_version: The version of ONNX' file format.
    """

    onnx: ir.Model
    opset: int
    ir_version: int

    @property
    def parameters(self) -> int:
        """The number of the network's weights."""
        return sum(value.const_value.size for value in self.onnx.graph.initializers.values() if value.const_value)


def checked_network(onnx: ir.Model, model: ServedModel, *, stride: int, source: Source) -> Network:
    """Return an ONNX network with its description.

    Raises:
        UnsupportedError: The tensors of the network are not what the contract says.
    """
    graph = read_graph(onnx)
    head = graph.head
    try:
        broken = problems(graph, signature.network(model, head))
    except ConfigError as exc:
        raise UnsupportedError(f"{source.path}: {exc}") from exc
    if broken:
        raise UnsupportedError(f"{source.path}: {'; '.join(broken)}")
    return Network(
        onnx=onnx,
        model=model,
        head=head,
        stride=stride,
        source=source,
        opset=graph.opset,
        ir_version=graph.ir_version,
        precision=graph.precision,
    )


def problems(graph: Graph, signature: Signature) -> list[str]:
    """List the differences between an ONNX network and the signature of its Triton model."""
    found = [*_compare("input", graph.inputs, signature.inputs), *_compare("output", graph.outputs, signature.outputs)]
    if graph.opset > MAX_OPSET:
        found.append(f"opset {graph.opset}: Triton 24.10 runs up to {MAX_OPSET}; export it with --opset 18")
    if graph.ir_version > MAX_IR_VERSION:
        found.append(f"IR version {graph.ir_version}: Triton 24.10 reads up to {MAX_IR_VERSION}")
    return found


def _compare(side: str, tensors: Iterable[GraphTensor], specs: Iterable[TensorSpec]) -> list[str]:
    actual = {tensor.name: tensor for tensor in tensors}
    expected = {spec.name: spec for spec in specs}
    found = [f"{side} {name!r} is not in the graph" for name in expected.keys() - actual.keys()]
    found += [f"{side} {actual[name]} is not in the contract" for name in actual.keys() - expected.keys()]
    for name in sorted(actual.keys() & expected.keys()):
        tensor, spec = actual[name], expected[name]
        if _DATA_TYPES.get(tensor.dtype) is not spec.dtype or tensor.dims[1:] != spec.shape:
            found.append(f"{side} {tensor}: expected {spec} behind a batch axis")
        elif not tensor.dims or isinstance(tensor.dims[0], int):
            found.append(f"{side} {tensor}: its batch axis is fixed")
    return sorted(found)
