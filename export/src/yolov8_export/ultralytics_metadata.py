# SPDX-License-Identifier: AGPL-3.0-or-later
"""Read and write the metadata that Ultralytics stores in ONNX files and reads in its Triton client."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from typing import Any

from yolov8_contract.served_model import ServedModel

NETWORK_OUTPUT = "network_output"
"""The entry with which export marks a network that outputs some of its anchors; Ultralytics writes none."""

_TEXTS = ("task", "head", "description", "author", "license", "version", "docs", "date", NETWORK_OUTPUT)


def ultralytics_metadata(model: ServedModel, stride: int) -> str:
    """Return the metadata as a Python literal, with which Ultralytics' own client can use the network alone."""
    return repr(stable_metadata(model, stride))


def stable_metadata(model: ServedModel, stride: int) -> dict[str, Any]:
    """Return the metadata that depend only on the model, without dates and versions."""
    metadata: dict[str, Any] = {
        "stride": stride,
        "task": model.task.value,
        "batch": 1,
        "imgsz": list(model.imgsz),
        "names": dict(enumerate(model.labels)),
        "channels": 3,
        "end2end": not model.has_nms,
    }
    if model.kpt_shape is not None:
        metadata["kpt_shape"] = list(model.kpt_shape)
    return metadata


def read_metadata(props: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of an ONNX file's ``metadata_props``; texts that are not Python literals stay texts."""
    return {key: text if key in _TEXTS else read_literal(text) for key, text in props.items()}


def read_literal(text: str) -> Any:
    """Return the value of a Python literal without running any code; other texts are returned as they are."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in a stranger's text
            return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text
