# SPDX-License-Identifier: AGPL-3.0-or-later
"""Describe a network as its weights give it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx_ir as ir

from yolov8_contract.served_model import ServedModel
from yolov8_export.runtime import Run

SourceFormat = Literal["pytorch", "onnx", "torchscript", "saved_model"]

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The weights that were exported.

    Attributes:
        path: The weights file.
        sha256: The hash of the file's bytes.
        format: The kind of the file.
        architecture: The name of Ultralytics' model file, such as ``yolov8n-seg.yaml``, if the weights have it.
        head: The class name of the network's head, if the weights have it.
        trained_with: The version of Ultralytics that wrote the weights, if they have it.
    """

    path: Path
    sha256: str
    format: SourceFormat
    architecture: str | None
    head: str | None
    trained_with: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """A network before any change: a checkpoint or a TorchScript file as torch traces it, or an `.onnx` file as given.

    Attributes:
        onnx: The ONNX network.
        model: The task, classes and input size of the network.
        stride: Height and width of an input must be multiples of this number of pixels.
        source: The weights.
        output_shapes: The shapes of the outputs without the batch axis, in the order of the outputs' names.
        metadata: Ultralytics' metadata that the served network should have.
        run: Runs the weights themselves, as the reference for the served network.
        reference: What ``run`` runs, in a report's words.
        module: Returns the ``torch.nn.Module`` from which TorchScript can be made; None without torch.
    """

    onnx: ir.Model
    model: ServedModel
    stride: int
    source: Source
    output_shapes: tuple[tuple[int, ...], ...]
    metadata: Mapping[str, str]
    run: Run
    reference: Literal["checkpoint", "given file"]
    module: Callable[[], Any] | None = None


def sha256_of(path: Path) -> str:
    """Return the hash of a file's bytes, in hex; of a folder, that of its files' names and hashes."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(one for one in path.rglob("*") if one.is_file()):
            digest.update(f"{file.relative_to(path)}={sha256_of(file)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
