# SPDX-License-Identifier: Apache-2.0
"""The onnxruntime drop-in for an instance on a GPU: its providers, and arrays that stay where they are.

ONNX Runtime binds its inputs and outputs on the CPU here, and numpy stands in for cupy.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from tests.drop_ins import module_fixture
from tests.unit.server.graphs import GRAPHS

AVAILABLE = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
DEFAULTS = {
    "cudnn_conv_algo_search": "EXHAUSTIVE",
    "arena_extend_strategy": "kNextPowerOfTwo",
    "gpu_mem_limit": str(2**64 - 1),
    "do_copy_in_default_stream": "1",
    "device_id": "2",
}


onnx_providers = module_fixture("onnxruntime", "onnx_providers")


def config(*accelerators: tuple[str, dict[str, str]], **parameters: str) -> dict[str, Any]:
    chosen = [{"name": name, "parameters": options} for name, options in accelerators]
    return {
        "optimization": {"execution_accelerators": {"gpu_execution_accelerator": chosen}},
        "parameters": {key: {"string_value": value} for key, value in parameters.items()},
    }


def test_an_instance_on_a_cpu_ignores_accelerators_of_gpus(onnx_providers: ModuleType) -> None:
    chosen = onnx_providers.providers(config(("nonsense", {})), device=None, available=["CPUExecutionProvider"])

    assert chosen == [("CPUExecutionProvider", {})]


def test_cuda_is_used_without_an_accelerator(onnx_providers: ModuleType) -> None:
    chosen = onnx_providers.providers({}, device=2, available=AVAILABLE)

    assert chosen == [("CUDAExecutionProvider", DEFAULTS), ("CPUExecutionProvider", {})]


def test_parameters_of_the_model_overwrite_those_of_the_accelerator(onnx_providers: ModuleType) -> None:
    """Triton's own backend overwrites HEURISTIC of the accelerator even where the model has no parameter."""
    given = ("cuda", {"cudnn_conv_algo_search": "HEURISTIC", "use_ep_level_unified_stream": "on"})

    plain = onnx_providers.providers(config(given), device=2, available=AVAILABLE)
    chosen = onnx_providers.providers(config(given, cudnn_conv_algo_search="1"), device=2, available=AVAILABLE)

    assert plain[0][1] == DEFAULTS | {"use_ep_level_unified_stream": "True"}
    assert chosen[0][1]["cudnn_conv_algo_search"] == "HEURISTIC"


def test_tensorrt_comes_before_cuda_with_the_names_of_onnx_runtime(onnx_providers: ModuleType) -> None:
    given = {
        "precision_mode": "FP16",
        "max_workspace_size_bytes": "1024",
        "trt_engine_cache_enable": "true",
        "trt_engine_cache_path": "/tmp/engines",
    }

    chosen = onnx_providers.providers(config(("tensorrt", given)), device=0, available=AVAILABLE)

    assert [name for name, _ in chosen] == AVAILABLE
    assert chosen[0][1] == {
        "trt_fp16_enable": "True",
        "trt_max_workspace_size": "1024",
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": "/tmp/engines",
        "device_id": "0",
    }


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        pytest.param(config(("openvino", {})), "unknown Execution Accelerator 'openvino'", id="name"),
        pytest.param(config(("tensorrt", {"trt_fp16": "1"})), "unknown parameter 'trt_fp16' is provided", id="key"),
        pytest.param(config(("tensorrt", {"precision_mode": "FP8"})), "unsupported precision mode", id="precision"),
        pytest.param(config(("tensorrt", {"trt_dla_enable": "yes"})), "trt_dla_enable is 'yes'", id="switch"),
        pytest.param(config(("tensorrt", {"trt_dla_core": "one"})), "trt_dla_core is 'one'", id="number"),
        pytest.param(config(cudnn_conv_algo_search="3"), "unsupported cudnn_conv_algo_search value 3", id="search"),
        pytest.param(config(arena_extend_strategy="-1"), "unsupported arena_extend_strategy value -1", id="arena"),
    ],
)
def test_what_triton_refuses_is_refused(onnx_providers: ModuleType, given: dict[str, Any], reason: str) -> None:
    with pytest.raises(onnx_providers.RefusedConfigError) as refusal:
        onnx_providers.providers(given, device=0, available=AVAILABLE)

    assert reason in str(refusal.value)


def arguments(folder: Path, **parameters: str) -> dict[str, str]:
    (folder / "1").mkdir()
    onnx.save(GRAPHS["dynamic"], folder / "1" / "model.onnx")
    tensors = {
        "input": [{"name": "images", "data_type": "TYPE_FP32", "dims": [3, 8, 8]}],
        "output": [
            {"name": "output1", "data_type": "TYPE_FP32", "dims": [3]},
            {"name": "output0", "data_type": "TYPE_FP32", "dims": [3, 8, 8]},
        ],
    }
    text = json.dumps(config(**parameters) | tensors | {"max_batch_size": 4, "default_model_filename": "model.onnx"})
    return {
        "model_config": text,
        "model_repository": str(folder),
        "model_version": "1",
        "model_instance_kind": "GPU",
        "model_instance_device_id": "0",
    }


def test_without_onnxruntime_gpu_the_refusal_says_what_to_install(drop_in: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(drop_in.RefusedConfigError, match=r"needs ONNX Runtime's CUDAExecutionProvider.*-gpu"):
        drop_in.TritonPythonModel().initialize(arguments(tmp_path))


def test_a_provider_that_onnx_runtime_could_not_start_is_refused(onnx_providers: ModuleType) -> None:
    wanted = onnx_providers.providers({}, device=0, available=AVAILABLE)

    with pytest.raises(onnx_providers.RefusedConfigError, match="could not start its CUDAExecutionProvider"):
        onnx_providers.check_loaded(wanted, ["CPUExecutionProvider"])


class Memory:
    """Quacks as cupy's memory of another owner does."""

    def __init__(self, pointer: int, size: int, owner: Any, _: int) -> None:
        self.buffer = (ctypes.c_char * size).from_address(pointer)
        self.buffer.owner = owner


class Tensor:
    """Quacks as the stub's tensor on a GPU does; as_numpy() raises there."""

    def __init__(self, name: str, array: Any) -> None:
        self.name, self.held = name, array

    @classmethod
    def from_dlpack(cls, name: str, array: Any) -> Tensor:
        return cls(name, array)

    def is_cpu(self) -> bool:
        return False

    def __dlpack__(self, **options: Any) -> Any:
        return self.held.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.held.__dlpack_device__()


class Array(np.ndarray):
    """A numpy array whose memory has the address where cupy's arrays have it."""

    @property
    def data(self) -> Any:
        address = self.ctypes.data
        return SimpleNamespace(
            ptr=address, copy_from_device=lambda source, size: ctypes.memmove(address, source.ptr, size)
        )


CUPY = SimpleNamespace(
    from_dlpack=lambda tensor: np.from_dlpack(tensor).view(Array),
    asarray=lambda array: np.asarray(array).view(Array),
    ascontiguousarray=lambda array: np.ascontiguousarray(array).view(Array),
    empty=lambda shape, dtype: np.empty(shape, dtype).view(Array),
    ndarray=lambda shape, dtype, pointer: np.frombuffer(pointer.buffer, dtype).reshape(shape),
    cuda=SimpleNamespace(
        UnownedMemory=Memory,
        MemoryPointer=lambda memory, _: memory,
        get_current_stream=lambda: SimpleNamespace(synchronize=lambda: None),
    ),
)


def test_requests_of_a_batch_pass_through_the_device_and_back(
    drop_in: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", CUPY)
    monkeypatch.setattr(drop_in, "providers", lambda *_, **__: [("CPUExecutionProvider", {})])
    monkeypatch.setattr(drop_in.DeviceSession, "device_type", "cpu")
    utils = SimpleNamespace(
        get_input_tensor_by_name=lambda request, name: request[name],
        Tensor=Tensor,
        InferenceResponse=lambda tensors: {tensor.name: tensor.held for tensor in tensors},
    )
    monkeypatch.setattr(drop_in, "pb_utils", utils)
    model = drop_in.TritonPythonModel()
    model.initialize(arguments(tmp_path))
    images = [np.random.default_rng(count).random((count, 3, 8, 8), np.float32) for count in (1, 3)]

    answers = model.execute([{"images": Tensor("images", array)} for array in images])

    for answer, array in zip(answers, images, strict=True):
        np.testing.assert_array_equal(answer["output0"], -array)
        np.testing.assert_allclose(answer["output1"], array.mean((2, 3)), rtol=1e-5)
    assert ort.get_device() == "CPU"
