# SPDX-License-Identifier: Apache-2.0
"""Run a session on a GPU with inputs and outputs that stay there.

Inputs arrive on the GPU where the model's configuration has the parameter ``FORCE_CPU_ONLY_INPUT_TENSORS`` with the
value ``no``; others are copied to the GPU. Outputs are views of ONNX Runtime's own buffers.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import onnxruntime as ort
from onnx_refusals import RefusedConfigError  # type: ignore[import-not-found]  # a neighbour, see model.py


def preload() -> None:
    """Load CUDA and cuDNN from their Python packages, if they are installed so; else the system's are found."""
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()


class DeviceSession:
    """A session whose arrays are those of cupy."""

    device_type = "cuda"

    def __init__(self, session: ort.InferenceSession, device: int) -> None:
        self._session = session
        self._device = device
        self._cupy = _cupy()

    def array(self, tensor: Any) -> Any:
        """Return a request's tensor as an array on the GPU."""
        if tensor.is_cpu():
            return self._cupy.asarray(tensor.as_numpy())
        return self._cupy.from_dlpack(tensor)

    def joined(self, arrays: Sequence[Any]) -> Any:
        """Return one array of the arrays' rows, copied without a kernel, for which cupy would need a compiler."""
        whole = self._cupy.empty((sum(map(len, arrays)), *arrays[0].shape[1:]), arrays[0].dtype)
        start = 0
        for array in map(self._cupy.ascontiguousarray, arrays):
            whole[start : start + len(array)].data.copy_from_device(array.data, array.nbytes)
            start += len(array)
        return whole

    def run(self, outputs: Sequence[str], feed: Mapping[str, Any], options: ort.RunOptions) -> list[Any]:
        """Run the session once; the arrays share ONNX Runtime's buffers, which live as long as the arrays do."""
        binding = self._session.io_binding()
        inputs = {name: self._cupy.ascontiguousarray(array) for name, array in feed.items()}
        for name, array in inputs.items():
            binding.bind_input(name, self.device_type, self._device, array.dtype, array.shape, array.data.ptr)
        for name in outputs:
            binding.bind_output(name, self.device_type, self._device)
        # ONNX Runtime computes on a stream of its own, which does not wait for cupy's.
        self._cupy.cuda.get_current_stream().synchronize()
        self._session.run_with_iobinding(binding, options)
        binding.synchronize_outputs()
        return [
            self._view(value, dtype) for value, dtype in zip(binding.get_outputs(), self._dtypes(outputs), strict=True)
        ]

    def _dtypes(self, outputs: Sequence[str]) -> list[str]:
        known = {tensor.name: _DTYPES[tensor.type] for tensor in self._session.get_outputs()}
        return [known[name] for name in outputs]

    def _view(self, value: ort.OrtValue, dtype: str) -> Any:
        size = max(value.tensor_size_in_bytes(), 1)
        memory = self._cupy.cuda.UnownedMemory(value.data_ptr(), size, value, self._device)
        return self._cupy.ndarray(value.shape(), dtype, self._cupy.cuda.MemoryPointer(memory, 0))


_DTYPES = {
    "tensor(bool)": "bool",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(float16)": "float16",
    "tensor(float)": "float32",
    "tensor(double)": "float64",
}


def _cupy() -> Any:
    try:
        import cupy
    except ImportError as exc:
        raise RefusedConfigError(
            f"an instance of KIND_GPU passes tensors on the GPU with cupy, which {sys.executable} lacks: "
            "pip install cupy-cuda12x"
        ) from exc
    return cupy
