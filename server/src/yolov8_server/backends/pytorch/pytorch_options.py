# SPDX-License-Identifier: Apache-2.0
"""Read the options of a model's configuration, as Triton's pytorch backend reads them.

Unknown ``parameters`` are ignored, as in Triton's own backend. ENABLE_WEIGHT_SHARING and ENABLE_CACHE_CLEANING are read
and have no effect, since each instance is a process of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pytorch_refusals import RefusedConfigError  # type: ignore[import-not-found]  # a neighbour, see model.py

INT32_MAX = 2**31 - 1
_TRUE, _FALSE = {"true", "on", "1"}, {"false", "off", "0"}


@dataclass(frozen=True)
class Options:
    """How torch runs a model; None and 0 keep torch's own choice."""

    optimized: bool
    inference_mode: bool
    cudnn: bool
    jit_profiling: bool | None
    jit_executor: bool | None
    tensor_fuser: bool | None
    intra_op_threads: int
    inter_op_threads: int


def read_options(config: Mapping[str, Any]) -> Options:
    """Return the options of a model; raise `RefusedConfigError` for a value that can't be read."""
    values = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
    for name in ("ENABLE_WEIGHT_SHARING", "ENABLE_CACHE_CLEANING"):
        _boolean(values, name)
    return Options(
        optimized=not _boolean(values, "DISABLE_OPTIMIZED_EXECUTION"),
        inference_mode=_boolean(values, "INFERENCE_MODE") is not False,
        cudnn=not _boolean(values, "DISABLE_CUDNN"),
        jit_profiling=_boolean(values, "ENABLE_JIT_PROFILING"),
        jit_executor=_boolean(values, "ENABLE_JIT_EXECUTOR"),
        tensor_fuser=_boolean(values, "ENABLE_TENSOR_FUSER"),
        intra_op_threads=_integer(values, "INTRA_OP_THREAD_COUNT"),
        inter_op_threads=_integer(values, "INTER_OP_THREAD_COUNT"),
    )


def _boolean(values: Mapping[str, str], name: str) -> bool | None:
    text = values.get(name)
    if text is None:
        return None
    if text.lower() not in _TRUE | _FALSE:
        raise RefusedConfigError(f"parameter {name} is {text!r}, expected true, on, 1, false, off or 0")
    return text.lower() in _TRUE


def _integer(values: Mapping[str, str], name: str) -> int:
    """Read an integer as C++'s ``stoi`` does: leading digits count, the rest of the text is ignored."""
    text = values.get(name, "0")
    digits = re.match(r"\s*([+-]?\d+)", text)
    if digits is None or not -INT32_MAX - 1 <= int(digits[1]) <= INT32_MAX:
        raise RefusedConfigError(f"parameter {name} is {text!r}, expected an integer of 32 bits")
    return int(digits[1])
