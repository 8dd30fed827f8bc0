# SPDX-License-Identifier: Apache-2.0
"""Read the options of a model's configuration; unknown ``parameters`` are ignored, as in Triton's own backends.

``TF_GRAPH_TAG`` and ``TF_SIGNATURE_DEF`` have the names that they had in Triton's tensorflow backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tensorflow_tensors import RefusedConfigError  # type: ignore[import-not-found]  # a neighbour, see model.py

MAX_THREADS = 1024
_FLAGS = {"true": True, "false": False}


@dataclass(frozen=True)
class Options:
    """How TensorFlow runs a model.

    Attributes:
        intra_op_threads: Threads of one operator; 0 is TensorFlow's choice.
        inter_op_threads: Operators that run side by side; 0 is TensorFlow's choice.
        tf32: Whether a GPU may round the inputs of FP32 convolutions to TF32.
        signature: The signature that is served.
        tags: The tags of the graph to load, if a SavedModel has several; None loads the only one.
    """

    intra_op_threads: int
    inter_op_threads: int
    tf32: bool
    signature: str
    tags: tuple[str, ...] | None


def read_options(config: Mapping[str, Any]) -> Options:
    """Return the options of a model; raise `RefusedConfigError` for a value that can't be read."""
    values = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
    tag = values.get("TF_GRAPH_TAG")
    tf32 = values.get("tf32", "false")
    if tf32 not in _FLAGS:
        raise RefusedConfigError(f"parameter tf32 is {tf32!r}, expected true or false")
    return Options(
        intra_op_threads=_threads(values, "INTRA_OP_THREAD_COUNT"),
        inter_op_threads=_threads(values, "INTER_OP_THREAD_COUNT"),
        tf32=_FLAGS[tf32],
        signature=values.get("TF_SIGNATURE_DEF", "serving_default"),
        tags=None if tag is None else (tag,),
    )


def _threads(values: Mapping[str, str], name: str) -> int:
    text = values.get(name, "0").strip()
    if not text.isascii() or not text.isdecimal() or int(text) > MAX_THREADS:
        raise RefusedConfigError(f"parameter {name} is {text!r}, expected a number from 0 to {MAX_THREADS}")
    return int(text)
