# SPDX-License-Identifier: AGPL-3.0-or-later
"""An ONNX file that keeps the contract: what the steps of an export hand on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from yolov8_contract import signature
from yolov8_contract.errors import ConfigError
from yolov8_contract.served_model import ServedModel
from yolov8_contract.signature import Head
from yolov8_export.errors import UnsupportedError
from yolov8_export.graph import problems, read_graph
from yolov8_export.source import Source


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
