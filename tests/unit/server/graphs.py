# SPDX-License-Identifier: Apache-2.0
"""Small ONNX graphs, and the table of configurations that the onnxruntime drop-in loads or refuses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto, TensorProto, ValueInfoProto
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_sequence_value_info
from onnx.helper import make_tensor_value_info as tensor

TABLE = Path(__file__).parent / "refusals.json"
FLOAT, HALF, BFLOAT16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16
INT64, STRING = TensorProto.INT64, TensorProto.STRING


def model(nodes: list[Any], inputs: list[ValueInfoProto], outputs: list[ValueInfoProto], **parts: Any) -> ModelProto:
    graph = make_graph(nodes, "graph", inputs, outputs, **parts)
    return make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=8)


def neg(shape: list[int | str]) -> ModelProto:
    return model(
        [make_node("Neg", ["images"], ["output0"])], [tensor("images", FLOAT, shape)], [tensor("output0", FLOAT, shape)]
    )


def cast(source: int, target: int) -> ModelProto:
    return model(
        [make_node("Cast", ["images"], ["output0"], to=target)],
        [tensor("images", source, ["batch", 3])],
        [tensor("output0", target, ["batch", 3])],
    )


GRAPHS: dict[str, ModelProto] = {
    "dynamic": model(
        [
            make_node("Neg", ["images"], ["output0"]),
            make_node("GlobalAveragePool", ["images"], ["pooled"]),
            make_node("Flatten", ["pooled"], ["output1"]),
        ],
        [tensor("images", FLOAT, ["batch", 3, 8, 8])],
        [tensor("output0", FLOAT, ["batch", 3, 8, 8]), tensor("output1", FLOAT, ["batch", 3])],
    ),
    "symbolic": neg(["batch", 3, "height", "width"]),
    "fixed": neg([1, 3, 8, 8]),
    "scalar": model(
        [make_node("ReduceSum", ["images"], ["output0"], keepdims=0)],
        [tensor("images", FLOAT, [3])],
        [tensor("output0", FLOAT, [])],
    ),
    "two_inputs": model(
        [make_node("Mul", ["images", "scales"], ["output0"])],
        [tensor("images", FLOAT, ["batch", 3]), tensor("scales", FLOAT, ["batch", 3])],
        [tensor("output0", FLOAT, ["batch", 3])],
    ),
    "half": cast(HALF, INT64),
    "brain_float": cast(FLOAT, BFLOAT16),
    "text": model(
        [make_node("Identity", ["images"], ["output0"])],
        [tensor("images", STRING, ["batch", 3])],
        [tensor("output0", STRING, ["batch", 3])],
    ),
    "sequence": model(
        [make_node("SequenceConstruct", ["images"], ["output0"])],
        [tensor("images", FLOAT, [3])],
        [make_tensor_sequence_value_info("output0", FLOAT, [3])],
    ),
}


@dataclass(frozen=True)
class Case:
    """A configuration of a graph, and the reason for which it is refused (None if it loads).

    ``core`` marks those of which the server's core has an opinion, too.
    """

    id: str
    graph: str
    config: dict[str, Any]
    refused: str | None
    core: bool


def cases() -> list[Case]:
    table = json.loads(TABLE.read_text())
    return [
        Case(
            case["id"],
            case["graph"],
            merged({"backend": "onnxruntime", **table["graphs"][case["graph"]]}, case["change"]),
            case["refused"],
            case.get("core", False),
        )
        for case in table["cases"]
    ]


def merged(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Apply a JSON merge patch (RFC 7396)."""
    result = dict(target)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(result.get(key, {}), value)
        else:
            result[key] = value
    return result
