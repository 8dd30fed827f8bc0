# SPDX-License-Identifier: Apache-2.0
"""Refuse every configuration that Triton's own tensorrt backend refuses at load.

The checks compare a model's configuration with the plan. Features that this backend can't serve are refused, too,
rather than served differently. The module does no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tensorrt_options import RefusedConfigError  # type: ignore[import-not-found]  # a neighbour, see model.py

DYNAMIC = -1
TYPES = {
    "FLOAT": ("TYPE_FP32", "float32"),
    "HALF": ("TYPE_FP16", "float16"),
    "INT8": ("TYPE_INT8", "int8"),
    "UINT8": ("TYPE_UINT8", "uint8"),
    "INT32": ("TYPE_INT32", "int32"),
    "INT64": ("TYPE_INT64", "int64"),
    "BOOL": ("TYPE_BOOL", "bool"),
}
"""The type in configurations and numpy's, by TensorRT's name."""
_NOT_SERVED = ("sequence_batching", "batch_input", "batch_output", "model_operations")
_FLAGS = ("optional", "allow_ragged_batch", "is_shape_tensor", "is_non_linear_format_io")


class PlanTensor(NamedTuple):
    """An input or output of a plan; ``dtype`` and ``format`` are TensorRT's names."""

    name: str
    is_input: bool
    dtype: str
    shape: tuple[int, ...]
    format: str
    is_shape_tensor: bool


def check_environment(config: Mapping[str, Any], kind: str) -> None:
    """Refuse an instance on another device than a GPU, and fields of the configuration that are not served."""
    if kind.removeprefix("KIND_") != "GPU":
        raise RefusedConfigError(f"TensorRT backend supports only GPU device, the instance is of {kind}")
    for field in _NOT_SERVED:
        if config.get(field):
            raise RefusedConfigError(f"{field} is not served by the embedded tensorrt backend")
    for tensor in (*config["input"], *config["output"]):
        for flag in _FLAGS:
            if tensor.get(flag):
                raise RefusedConfigError(f"{tensor['name']!r}: {flag} is not served by the embedded tensorrt backend")


def check_tensors(config: Mapping[str, Any], plan: Sequence[PlanTensor]) -> None:
    """Refuse a configuration whose tensors differ from the plan's.

    All inputs and outputs must be declared. A dim may be -1 on either side where the other's is a number.
    """
    for side in ("input", "output"):
        tensors = {tensor.name: tensor for tensor in plan if tensor.is_input == (side == "input")}
        names = [declared["name"] for declared in config[side]]
        if side == "input" and len(names) > len(tensors):
            raise RefusedConfigError(
                f"configuration expects {len(names)} inputs, model provides at most {len(tensors)}: "
                f"{', '.join(tensors)}"
            )
        for name in names:
            if name not in tensors:
                raise RefusedConfigError(
                    f"unexpected inference {side} {name!r}, allowed {side}s are: {', '.join(tensors)}"
                )
        for name in tensors:
            if name not in names:
                raise RefusedConfigError(f"expected configuration for {side} {name!r}, which the plan has")
        for declared in config[side]:
            _check_tensor(side, declared, tensors[declared["name"]], batches=config["max_batch_size"] > 0)


def _check_tensor(side: str, declared: Mapping[str, Any], tensor: PlanTensor, *, batches: bool) -> None:
    name, wanted = tensor.name, declared["data_type"]
    if tensor.is_shape_tensor:
        raise RefusedConfigError(
            f"{side} {name!r} is a shape tensor of the plan, which the embedded tensorrt backend does not serve"
        )
    if tensor.format != "LINEAR":
        raise RefusedConfigError(
            f"{side} {name!r} has the non-linear format {tensor.format}, which the embedded tensorrt backend does not "
            "serve"
        )
    provided = TYPES.get(tensor.dtype, (tensor.dtype,))[0]
    if wanted != provided:
        raise RefusedConfigError(
            f"unexpected datatype {provided} for inference {side} {name!r}, expecting {wanted} as in the configuration"
        )
    if tensor.dtype not in TYPES:
        raise RefusedConfigError(f"{side} {name!r}: {wanted} is not served by the embedded tensorrt backend")
    dims = config_dims(declared)
    full = [DYNAMIC, *dims] if batches else dims
    if not _fits(full, tensor.shape):
        batch = " (with the batch axis that max_batch_size > 0 adds)" if batches else ""
        raise RefusedConfigError(
            f"tensor {name!r}: the plan has {list(tensor.shape)} and the configuration {full}{batch}: export the model "
            "again, and build its plan"
        )


def config_dims(declared: Mapping[str, Any]) -> list[int]:
    """Return the dims of a declared tensor as the plan has them, without the batch."""
    return [int(dim) for dim in (declared["reshape"]["shape"] if "reshape" in declared else declared["dims"])]


def _fits(full: Sequence[int], shape: Sequence[int]) -> bool:
    # A plan of one batch size fits as well; batches of other sizes then fail.
    return len(full) == len(shape) and all(
        want == have or DYNAMIC in (want, have) for want, have in zip(full, shape, strict=True)
    )
