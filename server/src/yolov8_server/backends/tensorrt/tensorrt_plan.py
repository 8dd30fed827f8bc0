# SPDX-License-Identifier: Apache-2.0
"""Load a plan and describe its tensors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tensorrt_options import RefusedConfigError  # type: ignore[import-not-found]  # a neighbour, see model.py
from tensorrt_refusals import PlanTensor  # type: ignore[import-not-found]

try:
    import tensorrt as trt  # type: ignore[import-not-found]
except ImportError as exc:
    raise RefusedConfigError(
        f"the tensorrt backend needs TensorRT for {sys.executable}, which can't load it ({exc}): pip install tensorrt, "
        "of the version that has built the plan"
    ) from exc
try:
    import cupy
except ImportError as exc:
    raise RefusedConfigError(
        f"the tensorrt backend holds tensors on the GPU with cupy, which {sys.executable} lacks: make setup-gpu, or "
        "pip install cupy-cuda13x"
    ) from exc

REBUILD = "build it on this machine, with this Python: docker/build_plans.py REPOSITORY"


class Log(trt.ILogger):  # type: ignore[misc]  # TensorRT has no types
    """Passes TensorRT's warnings to Triton's log, and keeps the last error."""

    def __init__(self, warn: Any) -> None:
        trt.ILogger.__init__(self)
        self._warn = warn
        self.error = "TensorRT gave no reason"

    def log(self, severity: Any, message: str) -> None:
        """Take a message; TensorRT calls this."""
        if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
            self.error = message
        if severity <= trt.ILogger.Severity.WARNING:  # the most severe is 0
            self._warn(f"TensorRT: {message}")


class Plan:
    """A plan in the memory of one GPU; the logger and the runtime live as long as the engine."""

    def __init__(self, path: Path, device: int, *, warn: Any) -> None:
        """Load a plan.

        Raises:
            RefusedConfigError: if it was built for another TensorRT or GPU, or is no plan.
        """
        self.warn = warn
        self.log = Log(warn)
        trt.init_libnvinfer_plugins(self.log, "")
        self._runtime = trt.Runtime(self.log)
        self.engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self.engine is None:
            raise RefusedConfigError(
                f"unable to create TensorRT engine from {path}: {self.log.error}. {_built_for(path)}This process has "
                f"TensorRT {trt.__version__} and {gpu_name(device)}: {REBUILD}"
            )

    def tensors(self) -> list[PlanTensor]:
        """Return the inputs and outputs of the plan."""
        engine = self.engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        return [
            PlanTensor(
                name=name,
                is_input=engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
                dtype=engine.get_tensor_dtype(name).name,
                shape=tuple(engine.get_tensor_shape(name)),
                format=engine.get_tensor_format(name).name,
                is_shape_tensor=engine.is_shape_inference_io(name),
            )
            for name in names
        ]

    def context(self, profile: int, strategy: str | None, stream: int) -> Any:
        """Return a new execution context for an optimization profile.

        Raises:
            RefusedConfigError: if the plan has no such profile, or the GPU has too little memory.
        """
        chosen = () if strategy is None else (trt.ExecutionContextAllocationStrategy.__members__[strategy],)
        context = self.engine.create_execution_context(*chosen)
        if context is None:
            raise RefusedConfigError(f"unable to create TensorRT context: {self.log.error}")
        count = self.engine.num_optimization_profiles
        if profile >= count or not context.set_optimization_profile_async(profile, stream):
            raise RefusedConfigError(
                f"Can not set the specified optimization profile {profile}. Expected optimization profile index range "
                f"0-{count - 1}"
            )
        return context


def compute_capability(device: int) -> str:
    """Return a GPU's compute capability, such as ``8.9``."""
    digits = cupy.cuda.Device(device).compute_capability
    return f"{digits[:-1]}.{digits[-1]}"


def gpu_name(device: int) -> str:
    """Return the name of a GPU's model."""
    name = cupy.cuda.runtime.getDeviceProperties(device)["name"]
    return name.decode() if isinstance(name, bytes) else str(name)


def _built_for(path: Path) -> str:
    """Return a sentence of what ``build_plans.py`` noted beside a plan; empty without a note."""
    try:
        note = json.loads(path.with_name(f"plan{path.stem.removeprefix('model')}.json").read_text(encoding="utf-8"))
        return f"It was built by TensorRT {note['machine']['tensorrt']} for {note['machine']['gpu']}. "
    except (OSError, ValueError, KeyError, TypeError):
        return ""
