# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a network comes from: for the manifest, and for the one who asks later.

What an ONNX file says of its tensors, held against what Triton's onnxruntime backend will compare it with.

An ONNX file that keeps the contract: what the steps of an export hand on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx

from yolov8_contract import signature
from yolov8_contract.errors import ConfigError
from yolov8_contract.served_model import ServedModel
from yolov8_contract.signature import Head
from yolov8_contract.tensors import DataType, Signature, TensorSpec
from yolov8_export.errors import UnsupportedError

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The weights that were exported.

    Attributes:
        path: The file.
        sha256: Of its bytes.
        format: What kind of file it is.
        architecture: Ultralytics' model file, such as ``yolov8n-seg.yaml``, where it says so.
        head: The class of its head, where it says so.
        trained_with: The version of Ultralytics that wrote it, where it says so.
    """

    path: Path
    sha256: str
    format: Literal["pytorch", "onnx"]
    architecture: str | None
    head: str | None
    trained_with: str | None


def sha256_of(path: Path) -> str:
    """Return the hash of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


MAX_OPSET = 21
MAX_IR_VERSION = 10
"""ONNX Runtime 1.19, the one in Triton 24.10, reads nothing newer."""

_DATA_TYPES = {"FLOAT": DataType.FP32, "UINT8": DataType.UINT8, "INT32": DataType.INT32}

Dim = int | str
"""A number, or the name of an axis whose length varies."""


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """One input or output, batch axis included; ``dtype`` is ONNX' name, such as ``FLOAT16``."""

    name: str
    dtype: str
    dims: tuple[Dim, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} [{', '.join(map(str, self.dims))}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Inputs, outputs and versions of an ONNX file; ``precision`` is fp32, fp16 or int8."""

    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]
    opset: int
    ir_version: int
    precision: str
    metadata: dict[str, str]

    @property
    def head(self) -> Head:
        """Shapes of the outputs without the batch axis.

        Raises:
            UnsupportedError: One is not a number.
        """
        return tuple(tuple(_number(tensor, dim) for dim in tensor.dims[1:]) for tensor in self.outputs)


def read_graph(model: onnx.ModelProto) -> Graph:
    """Return what a parsed ONNX file says of itself."""
    weights = {weight.name for weight in model.graph.initializer}  # old exporters list them as inputs, too
    return Graph(
        inputs=tuple(_tensor(value) for value in model.graph.input if value.name not in weights),
        outputs=tuple(_tensor(value) for value in model.graph.output),
        opset=max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")),
        ir_version=model.ir_version,
        precision=_precision(model),
        metadata={entry.key: entry.value for entry in model.metadata_props},
    )


def problems(graph: Graph, signature: Signature) -> list[str]:
    """Return how a graph differs from the signature of its Triton model; nothing if it doesn't."""
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


def _tensor(value: onnx.ValueInfoProto) -> GraphTensor:
    kind = value.type.tensor_type
    dims = tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in kind.shape.dim)
    return GraphTensor(value.name, onnx.TensorProto.DataType.Name(kind.elem_type), dims)


def _precision(model: onnx.ModelProto) -> str:
    """What most of the arithmetic is done in; inputs and outputs may be of another type."""
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        return "int8"
    half = any(weight.data_type == onnx.TensorProto.FLOAT16 for weight in model.graph.initializer)
    return "fp16" if half else "fp32"


def _number(tensor: GraphTensor, dim: Dim) -> int:
    if isinstance(dim, str):
        raise UnsupportedError(f"output {tensor}: {dim!r} is no number, and only the batch axis may vary")
    return dim


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network that is ready to be served.

    Attributes:
        path: Its ONNX file.
        model: What it was trained for.
        head: Shapes of its outputs without the batch axis.
        stride: Height and width of an input must be multiples of it.
        source: Where it comes from.
        opset: Of the file.
        ir_version: Of the file.
        precision: fp32, fp16 or int8.
        engine_files: What the engine loads in place of the ONNX file.
    """

    path: Path
    model: ServedModel
    head: Head
    stride: int
    source: Source
    opset: int
    ir_version: int
    precision: str
    engine_files: tuple[Path, ...] = ()


def checked_network(path: Path, model: ServedModel, *, stride: int, source: Source) -> Network:
    """Return an ONNX file as a network, once its graph is what the contract says.

    Raises:
        UnsupportedError: It isn't.
    """
    graph = read_graph(onnx.load(path, load_external_data=False))
    head = graph.head
    try:
        broken = problems(graph, signature.network(model, head))
    except ConfigError as exc:
        raise UnsupportedError(f"{source.path}: {exc}") from exc
    if broken:
        raise UnsupportedError(f"{source.path}: {'; '.join(broken)}")
    return Network(
        path=path,
        model=model,
        head=head,
        stride=stride,
        source=source,
        opset=graph.opset,
        ir_version=graph.ir_version,
        precision=graph.precision,
    )
