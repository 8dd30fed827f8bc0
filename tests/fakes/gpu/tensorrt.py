# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: ARG001, ARG002, G003  (the arguments are TensorRT's)
"""The part of TensorRT's Python package that this project uses, on ONNX Runtime and the CPU.

Names, arguments and return values are those of the bindings in NVIDIA's public sources of 10.16 and 11.1
(`python/src/infer/pyCore.cpp`, `python/src/parsers/pyOnnx.cpp`). Where TensorRT logs and returns None or False, this
module does so. A plan is a line of JSON between TensorRT's first bytes and the network.
"""

from __future__ import annotations

import ctypes
import enum
import json
import os
from pathlib import Path
from typing import Any

__version__ = os.environ.get("TENSORRT", "10.14.1.48")
MAGIC = b"ftrt"
if __version__ == "broken":
    raise ImportError("libnvinfer.so.10: cannot open shared object file")


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


class Logger(ILogger):
    ERROR, WARNING = ILogger.Severity.ERROR, ILogger.Severity.WARNING

    def __init__(self, min_severity: ILogger.Severity = WARNING) -> None:
        self.min_severity = min_severity

    def log(self, severity: ILogger.Severity, msg: str) -> None:
        if severity <= self.min_severity:
            print(f"[TRT] [{severity.name[0]}] {msg}")


class BuilderFlag(enum.IntEnum):
    TF32 = 7


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class ExecutionContextAllocationStrategy(enum.IntEnum):
    STATIC = 0
    ON_PROFILE_CHANGE = 1


class TensorIOMode(enum.IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class TensorFormat(enum.IntEnum):
    LINEAR = 0
    CHW32 = 5


DataType = enum.Enum("DataType", "FLOAT HALF BF16 INT8 INT32 INT64 BOOL UINT8")
_TYPES = {
    "tensor(float)": (DataType.FLOAT, "float32"),
    "tensor(float16)": (DataType.HALF, "float16"),
    "tensor(uint8)": (DataType.UINT8, "uint8"),
    "tensor(int64)": (DataType.INT64, "int64"),
}


def init_libnvinfer_plugins(logger: ILogger, namespace: str) -> bool:
    return True


# What builds plans


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> memoryview:
        return memoryview(b"timings of " + __version__.encode())


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[tuple[int, ...]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self.shapes[input] = [tuple(min), tuple(opt), tuple(max)]


class IBuilderConfig:
    def __init__(self) -> None:
        self.flags = {BuilderFlag.TF32}  # TensorRT's default
        self.profiles: list[IOptimizationProfile] = []
        self.cache: ITimingCache | None = None

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.discard(flag)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        least, best, most = next(iter(profile.shapes.values()))
        if not least <= best <= most:
            return -1
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache.content and not ignore_mismatch and not cache.content.endswith(__version__.encode()):
            return False
        self.cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self.cache


class INetworkDefinition:
    def __init__(self, flags: int) -> None:
        self.flags = flags
        self.content = b""


class Builder:
    def __init__(self, logger: ILogger) -> None:
        if os.environ.get("GPU") == "none":
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> memoryview | None:
        if network.content == b"too large":
            print("[TRT] [E] out of memory")
            return None
        facts = {
            "version": __version__,
            "gpu": os.environ.get("GPU", "NVIDIA L4"),
            "device": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "strongly_typed": bool(network.flags & 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED),
            "tf32": BuilderFlag.TF32 in config.flags,
            "profiles": [profile.shapes for profile in config.profiles],
            "timings": config.cache.content.decode() if config.cache else None,
        }
        return memoryview(plan(facts, network.content))


def plan(facts: dict[str, Any], network: bytes) -> bytes:
    """Return a plan; tests write plans with this."""
    return MAGIC + json.dumps(facts).encode() + b"\n" + network


class ParserError:
    def desc(self) -> str:
        return "no ONNX model"


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network = network
        self.num_errors = 0

    def parse_from_file(self, model: str) -> bool:
        self._network.content = Path(model).read_bytes()
        self.num_errors = int(self._network.content == b"broken")
        return not self.num_errors

    def get_error(self, index: int) -> ParserError:
        return ParserError()


# What runs them


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        head, _, network = serialized_engine.partition(b"\n")
        facts = json.loads(head[4:]) if head.startswith(MAGIC) else None
        if facts is None or facts["version"] != __version__:
            why = "Version tag does not match" if facts else "magicTagRead == kMAGIC_TAG failed"
            self._logger.log(ILogger.Severity.ERROR, "IRuntime::deserializeCudaEngine: Error Code 1: " + why)
            return None
        if facts["gpu"] != os.environ.get("GPU", "NVIDIA L4"):
            self._logger.log(ILogger.Severity.WARNING, "Using an engine plan file across different models of devices")
        return ICudaEngine(facts, network, self._logger)


class ICudaEngine:
    def __init__(self, facts: dict[str, Any], network: bytes, logger: ILogger) -> None:
        import onnxruntime  # here, because the builder's tests have no network for it

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
        self.logger = logger
        self.format = TensorFormat[facts.get("format", "LINEAR")]
        self.profiles = [
            {name: [tuple(shape) for shape in shapes] for name, shapes in profile.items()}
            for profile in facts["profiles"]
        ]
        self.inputs = {tensor.name: tensor for tensor in self.session.get_inputs()}
        self.tensors = self.inputs | {tensor.name: tensor for tensor in self.session.get_outputs()}
        self.num_io_tensors = len(self.tensors)
        self.num_optimization_profiles = len(self.profiles)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(size if isinstance(size, int) else -1 for size in self.tensors[name].shape)

    def get_tensor_dtype(self, name: str) -> Any:
        return _TYPES[self.tensors[name].type][0]

    def get_tensor_format(self, name: str) -> TensorFormat:
        return self.format

    def is_shape_inference_io(self, name: str) -> bool:
        return False

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        return self.profiles[profile_index][name]

    def create_execution_context(
        self, strategy: ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy.STATIC
    ) -> IExecutionContext:
        return IExecutionContext(self)


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self.engine = engine
        self.active_optimization_profile = 0
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.runs: list[tuple[int, ...]] = []

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self.active_optimization_profile = profile_index
        return profile_index < len(self.engine.profiles)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, most = self.engine.profiles[self.active_optimization_profile][name]
        if not all(low <= size <= high for low, size, high in zip(least, shape, most, strict=True)):
            self.engine.logger.log(ILogger.Severity.ERROR, "the profile lacks the shape " + str(shape))
            return False
        self.shapes[name] = shape
        return True

    def infer_shapes(self) -> list[str]:
        return [name for name in self.engine.inputs if name not in self.shapes]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        rows = next(iter(self.shapes.values()))[0]
        shape = self.shapes.get(name) or self.engine.get_tensor_shape(name)
        return tuple(rows if axis == 0 and size < 0 else size for axis, size in enumerate(shape))

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return name in self.engine.tensors

    def execute_async_v3(self, stream_handle: int) -> bool:
        from cupy import cuda

        shapes = dict(self.shapes)
        cuda.Stream.known[stream_handle].do(lambda: self._run(shapes))
        return True

    def _run(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self.runs.append(next(iter(shapes.values())))
        feed = {name: self._memory(name, shape).copy() for name, shape in shapes.items()}
        names = [name for name in self.engine.tensors if name not in feed]
        for name, array in zip(names, self.engine.session.run(names, feed), strict=True):
            self._memory(name, array.shape)[...] = array

    def _memory(self, name: str, shape: tuple[int, ...]) -> Any:
        import numpy as np

        kind = np.dtype(_TYPES[self.engine.tensors[name].type][1])
        size = int(np.prod(shape)) * kind.itemsize
        memory = (ctypes.c_char * size).from_address(self.addresses[name])
        return np.frombuffer(memory, kind).reshape(shape)
