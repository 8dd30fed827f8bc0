# SPDX-License-Identifier: Apache-2.0
"""Choose the execution providers of a session as Triton's onnxruntime backend does for an instance on a GPU.

The keys of ``gpu_execution_accelerator`` and their types are those of Triton's own backend; an unknown one is refused.
Parameters of the model come after those of the accelerator ``cuda``, and overwrite its search for convolutions, memory
limit, arena and copies even where the model has none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from onnx_refusals import RefusedConfigError  # type: ignore[import-not-found]  # a neighbour, see model.py

CPU_PROVIDER, CUDA_PROVIDER, TENSORRT_PROVIDER = (
    "CPUExecutionProvider",
    "CUDAExecutionProvider",
    "TensorrtExecutionProvider",
)
Providers = list[tuple[str, dict[str, str]]]

_PRECISIONS = {
    "FP32": {},
    "FP16": {"trt_fp16_enable": "True"},
    "BF16": {"trt_bf16_enable": "True"},
    "INT8": {"trt_int8_enable": "True"},
}
_RENAMED = {
    "max_workspace_size_bytes": "trt_max_workspace_size",
    "int8_calibration_table_name": "trt_int8_calibration_table_name",
    "int8_use_native_calibration_table": "trt_int8_use_native_calibration_table",
}
_SWITCHES = frozenset(
    {
        "int8_use_native_calibration_table", "trt_dla_enable", "trt_engine_cache_enable", "trt_dump_subgraphs",
        "trt_force_sequential_engine_build", "trt_context_memory_sharing_enable", "trt_layer_norm_fp32_fallback",
        "trt_timing_cache_enable", "trt_force_timing_cache", "trt_detailed_build_log", "trt_build_heuristics_enable",
        "trt_sparsity_enable", "trt_cuda_graph_enable", "trt_dump_ep_context_model",
    }
)  # fmt: skip
_NUMBERS = frozenset(
    {
        "max_workspace_size_bytes", "trt_max_partition_iterations", "trt_min_subgraph_size", "trt_dla_core",
        "trt_builder_optimization_level", "trt_auxiliary_streams", "trt_ep_context_embed_mode",
    }
)  # fmt: skip
_TEXTS = frozenset(
    {
        "int8_calibration_table_name", "trt_engine_cache_path", "trt_engine_cache_prefix", "trt_timing_cache_path",
        "trt_tactic_sources", "trt_extra_plugin_lib_paths", "trt_profile_min_shapes", "trt_profile_max_shapes",
        "trt_profile_opt_shapes", "trt_ep_context_file_path",
    }
)  # fmt: skip
_CUDA_SWITCHES = frozenset({"do_copy_in_default_stream", "use_ep_level_unified_stream"})
_TRUE, _FALSE = {"true", "1", "on"}, {"false", "0", "off"}
_SEARCHES = ("EXHAUSTIVE", "HEURISTIC", "DEFAULT")
_ARENAS = ("kNextPowerOfTwo", "kSameAsRequested")
_NO_LIMIT = str(2**64 - 1)


def providers(config: Mapping[str, Any], *, device: int | None, available: Collection[str]) -> Providers:
    """Return the providers with their options, the first one that can run an operator runs it.

    Args:
        config: The model's configuration.
        device: The index of the instance's GPU, or None for an instance on the CPU.
        available: The providers of the installed ONNX Runtime.

    Raises:
        RefusedConfigError: if an accelerator, key or value is unknown, or the installed ONNX Runtime lacks a provider.
    """
    if device is None:
        return [(CPU_PROVIDER, {})]
    chosen: Providers = []
    cuda: dict[str, str] = {}
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    for accelerator in accelerators.get("gpu_execution_accelerator", []):
        name, given = accelerator["name"], accelerator.get("parameters", {})
        if name == "tensorrt":
            chosen.append((TENSORRT_PROVIDER, _tensorrt(given) | {"device_id": str(device)}))
        elif name == "cuda":
            cuda |= {key: _switch(key, value) if key in _CUDA_SWITCHES else value for key, value in given.items()}
        else:
            raise RefusedConfigError(f"unknown Execution Accelerator {name!r} is requested, expected cuda or tensorrt")
    cuda |= _cuda_parameters({key: value["string_value"] for key, value in config.get("parameters", {}).items()})
    chosen += [(CUDA_PROVIDER, cuda | {"device_id": str(device)}), (CPU_PROVIDER, {})]
    _check_available((name for name, _ in chosen), available)
    return chosen


def check_loaded(wanted: Providers, loaded: Collection[str]) -> None:
    """Refuse a session that ONNX Runtime has made without a wanted provider, which it does with a warning alone."""
    for name, _ in wanted:
        if name not in loaded:
            raise RefusedConfigError(
                f"ONNX Runtime could not start its {name}: is there a GPU, and are the driver, CUDA and cuDNN of the "
                "versions that this onnxruntime-gpu needs? Its own warning is in the server's log"
            )


def _check_available(wanted: Iterable[str], available: Collection[str]) -> None:
    for name in wanted:
        if name not in available:
            raise RefusedConfigError(
                f"an instance of KIND_GPU needs ONNX Runtime's {name}, but the installed one has "
                f"{', '.join(sorted(available))}: pip install onnxruntime-gpu in place of onnxruntime"
            )


def _tensorrt(given: Mapping[str, str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for key, value in given.items():
        if key == "precision_mode":
            if value not in _PRECISIONS:
                raise RefusedConfigError(
                    f"unsupported precision mode {value!r} is requested, expected {', '.join(_PRECISIONS)}"
                )
            options |= _PRECISIONS[value]
        elif key in _SWITCHES:
            options[_RENAMED.get(key, key)] = _switch(key, value)
        elif key in _NUMBERS:
            options[_RENAMED.get(key, key)] = _number(key, value)
        elif key in _TEXTS:
            options[_RENAMED.get(key, key)] = value
        else:
            raise RefusedConfigError(f"unknown parameter {key!r} is provided for TensorRT Execution Accelerator")
    return {key: value for key, value in options.items() if value}


def _cuda_parameters(given: Mapping[str, str]) -> dict[str, str]:
    return {
        "cudnn_conv_algo_search": _choice(given, "cudnn_conv_algo_search", _SEARCHES),
        "arena_extend_strategy": _choice(given, "arena_extend_strategy", _ARENAS),
        "gpu_mem_limit": given.get("gpu_mem_limit", _NO_LIMIT),
        "do_copy_in_default_stream": given.get("do_copy_in_default_stream", "1"),
    }


def _choice(given: Mapping[str, str], key: str, values: tuple[str, ...]) -> str:
    number = int(_number(key, given.get(key, "0")))
    if not 0 <= number < len(values):
        raise RefusedConfigError(f"unsupported {key} value {number} is requested, expected 0 to {len(values) - 1}")
    return values[number]


def _switch(key: str, value: str) -> str:
    """Return the only spellings that ONNX Runtime's Python reads for TensorRT; Triton's backend reads more."""
    if value.lower() not in _TRUE | _FALSE:
        raise RefusedConfigError(f"{key} is {value!r}, expected true, on, 1, false, off or 0")
    return "True" if value.lower() in _TRUE else "False"


def _number(key: str, value: str) -> str:
    if not re.fullmatch(r"-?\d+", value):
        raise RefusedConfigError(f"{key} is {value!r}, expected an integer")
    return value
