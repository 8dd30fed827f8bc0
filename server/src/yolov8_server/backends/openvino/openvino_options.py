# SPDX-License-Identifier: Apache-2.0
"""Read the options of a compiled network from a model's configuration, as Triton's openvino backend reads them.

Unknown ``parameters`` are ignored, as in Triton's own backend. HINT_BF16 is the only parameter for the precision.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from openvino_refusals import RefusedConfigError  # type: ignore[import-not-found]  # a neighbour, see model.py

_HINTS = ("LATENCY", "THROUGHPUT", "CUMULATIVE_THROUGHPUT")


def compile_options(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the options for `Core.compile_model` in one of a model's processes.

    Raises:
        RefusedConfigError: if a parameter has an invalid value.
    """
    values = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
    threads = _number(values, "INFERENCE_NUM_THREADS") or len(os.sched_getaffinity(0))
    _number(values, "COMPILATION_NUM_THREADS")
    _streams(values)
    options = {
        "INFERENCE_NUM_THREADS": str(max(1, threads // _instances(config))),
        "NUM_STREAMS": "1",
        # With pinning, every process would pin its threads to the same first cores.
        "ENABLE_CPU_PINNING": "NO",
        # OpenVINO may choose bf16 by itself, which is half as slow again on a CPU without bf16 instructions.
        "INFERENCE_PRECISION_HINT": _precision(values),
    }
    if hint := values.get("PERFORMANCE_HINT", "").upper():
        if hint not in _HINTS:
            raise RefusedConfigError(f"parameter PERFORMANCE_HINT is {hint!r}, expected one of {', '.join(_HINTS)}")
        options["PERFORMANCE_HINT"] = hint
    return options


def _instances(config: Mapping[str, Any]) -> int:
    counts = (int(group.get("count", 1)) for group in config.get("instance_group", []))
    return max(1, sum(counts))


def _number(values: Mapping[str, str], name: str) -> int:
    text = values.get(name, "")
    if text and not (text.isascii() and text.isdecimal()):
        raise RefusedConfigError(f"parameter {name} is {text!r}, expected a number")
    return int(text or 0)


def _streams(values: Mapping[str, str]) -> None:
    text = values.get("NUM_STREAMS", "")
    if text.lower() not in ("", "auto", "numa") and not (text.isascii() and text.isdecimal()):
        raise RefusedConfigError(f"parameter NUM_STREAMS is {text!r}, expected AUTO, NUMA or a number")


def _precision(values: Mapping[str, str]) -> str:
    text = values.get("HINT_BF16", "")
    if text and text.lower() != "yes":
        raise RefusedConfigError(f"parameter HINT_BF16 is {text!r}, expected YES")
    return "bf16" if text else "f32"
