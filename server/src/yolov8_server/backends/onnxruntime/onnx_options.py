# SPDX-License-Identifier: Apache-2.0
"""Read the options of a session from a model's configuration, as Triton's onnxruntime backend reads them.

Unknown ``parameters`` are ignored, as in Triton's own backend.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import onnxruntime as ort
from onnx_refusals import RefusedConfigError  # type: ignore[import-not-found]  # a neighbour, see model.py

INT32_MAX = 2**31 - 1
# `optimization { graph { level } }`; any other level, or none, enables all optimizations.
_GRAPH_LEVELS = {
    -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
_TRUE, _FALSE = {"true", "on", "1"}, {"false", "off", "0"}
_DEVICE_ALLOCATOR = "session.use_device_allocator_for_initializers"
_STOP_SPINNING = "session.force_spinning_stop"
_ARENA_SHRINKAGE = "memory.enable_memory_arena_shrinkage"


def session_options(config: Mapping[str, Any]) -> ort.SessionOptions:
    """Return the options for `ort.InferenceSession`; raise `RefusedConfigError` for a value that can't be read."""
    parameters = _string_values(config)
    options = ort.SessionOptions()
    level = config.get("optimization", {}).get("graph", {}).get("level", 0)
    options.graph_optimization_level = _GRAPH_LEVELS.get(level, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    options.execution_mode = _execution_mode(parameters)
    # ONNX Runtime uses one thread a core for 0, and Triton's backend does so for any number below 0 as well.
    options.intra_op_num_threads = max(0, _integer(parameters, "intra_op_thread_count"))
    options.inter_op_num_threads = max(0, _integer(parameters, "inter_op_thread_count"))
    options.enable_cpu_mem_arena = _boolean(parameters, "enable_mem_arena", default=True)
    # With a pattern, the second run takes one block for all tensors beside those of the first: 22 MiB for yolov8n.
    options.enable_mem_pattern = _boolean(parameters, "enable_mem_pattern", default=False)
    # Between runs, idle threads would spin on cores that the other composing models need.
    options.add_session_config_entry(_STOP_SPINNING, "1")
    if _DEVICE_ALLOCATOR in parameters:
        options.add_session_config_entry(_DEVICE_ALLOCATOR, parameters[_DEVICE_ALLOCATOR])
    return options


def run_options(config: Mapping[str, Any]) -> ort.RunOptions:
    """Return the options of each run."""
    parameters = _string_values(config)
    options = ort.RunOptions()
    if _ARENA_SHRINKAGE in parameters:
        options.add_run_config_entry(_ARENA_SHRINKAGE, parameters[_ARENA_SHRINKAGE])
    return options


def _string_values(config: Mapping[str, Any]) -> dict[str, str]:
    return {key: value["string_value"] for key, value in config.get("parameters", {}).items()}


def _execution_mode(parameters: Mapping[str, str]) -> ort.ExecutionMode:
    mode = _integer(parameters, "execution_mode")
    if mode not in (0, 1):
        raise RefusedConfigError(f"parameter execution_mode is {mode}, expected 0 (sequential) or 1 (parallel)")
    return ort.ExecutionMode.ORT_PARALLEL if mode else ort.ExecutionMode.ORT_SEQUENTIAL


def _integer(parameters: Mapping[str, str], name: str) -> int:
    """Read an integer as C++'s ``stoi`` does: leading digits count, the rest of the text is ignored."""
    text = parameters.get(name, "0")
    digits = re.match(r"\s*([+-]?\d+)", text)
    if digits is None:
        raise RefusedConfigError(f"parameter {name} is {text!r}, expected an integer")
    number = int(digits[1])
    if not -INT32_MAX - 1 <= number <= INT32_MAX:
        # Triton's own backend aborts the whole server for such a value.
        raise RefusedConfigError(f"parameter {name} is {text!r}, expected an integer of 32 bits")
    return number


def _boolean(parameters: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = parameters.get(name)
    if text is None:
        return default
    if text.lower() not in _TRUE | _FALSE:
        raise RefusedConfigError(f"parameter {name} is {text!r}, expected true, on, 1, false, off or 0")
    return text.lower() in _TRUE
