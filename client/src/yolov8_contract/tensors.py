# SPDX-License-Identifier: Apache-2.0
"""Describe tensors and the inputs and outputs of a model; the project's own tensors are in `signature`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import ConfigError

DYNAMIC = -1


class DataType(Enum):
    """The Triton dtypes in use; the value is the name on the wire."""

    UINT8 = "UINT8"
    INT32 = "INT32"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"

    @property
    def numpy(self) -> npt.DTypeLike:
        """The dtype of numpy arrays with such values (``object`` for ``bytes``)."""
        return _NUMPY[self]

    @property
    def config_name(self) -> str:
        """The name in ``config.pbtxt``, where BYTES is called TYPE_STRING."""
        return "TYPE_STRING" if self is DataType.BYTES else f"TYPE_{self.value}"


_NUMPY: dict[DataType, npt.DTypeLike] = {
    DataType.UINT8: np.uint8,
    DataType.INT32: np.int32,
    DataType.FP32: np.float32,
    DataType.FP64: np.float64,
    DataType.BYTES: np.object_,
}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor without its batch axis; `DYNAMIC` stands for a variable length."""

    name: str
    dtype: DataType
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype.value} {list(self.shape)}"

    def accepts(self, array: npt.NDArray[Any]) -> bool:
        """Return whether an array without a batch axis has this dtype and shape."""
        return (
            array.dtype == self.dtype.numpy
            and array.ndim == len(self.shape)
            and all(want in (DYNAMIC, got) for want, got in zip(self.shape, array.shape, strict=True))
        )


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and outputs of one Triton model."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def check_config(self, config: Mapping[str, Any]) -> None:
        """Compare with a model configuration in the JSON form of Triton's python backend and HTTP endpoint.

        Raises:
            ConfigError: A tensor is missing or unknown, or has another type or shape.
        """
        where = f"model {config.get('name', '?')!r}"
        _compare(f"{where}, inputs", self.inputs, config.get("input", ()))
        _compare(f"{where}, outputs", self.outputs, config.get("output", ()))


def _compare(where: str, specs: tuple[TensorSpec, ...], tensors: Iterable[Mapping[str, Any]]) -> None:
    expected = {(spec.name, spec.dtype.config_name, spec.shape) for spec in specs}
    # JSON made from protobuf may have int64 dims as strings.
    actual = {(t["name"], t["data_type"], tuple(int(dim) for dim in t["dims"])) for t in tensors}
    if actual != expected:
        raise ConfigError(
            f"{where}: expected {_listed(expected)}, got {_listed(actual)}; "
            "export the model again, or use the release that exported it"
        )


def _listed(tensors: set[tuple[str, str, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {dtype} {list(shape)}" for name, dtype, shape in sorted(tensors)) or "none"
