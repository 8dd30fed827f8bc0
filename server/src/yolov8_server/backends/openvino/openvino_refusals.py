# SPDX-License-Identifier: Apache-2.0
"""Refuse what Triton's own openvino backend refuses, or loads and then fails each request of.

It fixes a network's batch at ``max_batch_size``. A request of another size is refused, also where the batcher could
join several to that size; with ENABLE_BATCH_PADDING it is filled up at the price of a whole batch, and the full batch
after it is cut short. So 0 and 1 are the sizes that work. No I/O, standard library alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

DYNAMIC = -1
_CONFIG_TYPES = {
    "boolean": "TYPE_BOOL",
    "u8": "TYPE_UINT8",
    "u16": "TYPE_UINT16",
    "u32": "TYPE_UINT32",
    "u64": "TYPE_UINT64",
    "i8": "TYPE_INT8",
    "i16": "TYPE_INT16",
    "i32": "TYPE_INT32",
    "i64": "TYPE_INT64",
    "f16": "TYPE_FP16",
    "f32": "TYPE_FP32",
}
_ELEMENT_NAMES = {
    "uint8_t": "u8",
    "uint16_t": "u16",
    "uint32_t": "u32",
    "uint64_t": "u64",
    "int8_t": "i8",
    "int16_t": "i16",
    "int32_t": "i32",
    "int64_t": "i64",
    "float16": "f16",
    "float": "f32",
}
_NOT_SERVED = ("sequence_batching", "batch_input", "batch_output", "model_operations")


class RefusedConfigError(ValueError):
    """The model can't be served as its configuration says."""


def check_environment(config: Mapping[str, Any], instance_kind: str) -> None:
    """Refuse what needs no graph to be seen; called before the model is loaded."""
    if instance_kind != "CPU":
        raise RefusedConfigError(f"the openvino backend runs on KIND_CPU alone, got KIND_{instance_kind}")
    for field in _NOT_SERVED:
        if config.get(field):
            raise RefusedConfigError(f"{field} is not served by the embedded openvino backend")
    if config["max_batch_size"] > 1:
        raise RefusedConfigError(
            f"max_batch_size is {config['max_batch_size']}: the openvino backend fixes the network's batch at it and "
            "refuses each request of another size; set it to 1, and batch on no CPU"
        )


def check_tensors(config: Mapping[str, Any], *, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Refuse a configuration whose tensors are not the network's.

    All inputs must be declared, a subset of the outputs may be.

    Args:
        config: The model's configuration.
        inputs: `openvino.Output` objects of the network.
        outputs: The same.
    """
    if len(inputs) != len(config["input"]):
        names = ", ".join(_named(inputs))
        raise RefusedConfigError(
            f"the configuration has {len(config['input'])} inputs, the network {len(inputs)}: {names}"
        )
    batches = config["max_batch_size"] > 0
    _check("input", config["input"], _named(inputs), batches=batches)
    _check("output", config["output"], _named(outputs), batches=batches)


def _named(tensors: Iterable[Any]) -> dict[str, Any]:
    return {tensor.get_any_name(): tensor for tensor in tensors}


def _check(kind: str, declared: Iterable[Mapping[str, Any]], network: Mapping[str, Any], *, batches: bool) -> None:
    for config in declared:
        name = config["name"]
        if name not in network:
            raise RefusedConfigError(
                f"{kind} {name!r} is not in the network, which has {', '.join(sorted(network)) or 'none'}"
            )
        if config.get("optional") or config.get("allow_ragged_batch"):
            raise RefusedConfigError(f"{kind} {name!r}: optional and ragged inputs are not served by openvino")
        _check_type(kind, config, network[name])
        _check_dims(kind, config, network[name], batches=batches)


def _check_type(kind: str, config: Mapping[str, Any], tensor: Any) -> None:
    element = tensor.get_element_type().to_string()
    provided = _CONFIG_TYPES.get(_ELEMENT_NAMES.get(element, element))
    if config["data_type"] != provided:
        # Triton's own would convert, unasked; a wrong declaration is likelier.
        raise RefusedConfigError(
            f"{kind} {config['name']!r} is {config['data_type']} in the configuration and "
            f"{provided or element} in the network"
        )


def _check_dims(kind: str, config: Mapping[str, Any], tensor: Any, *, batches: bool) -> None:
    dims = list(config["reshape"]["shape"] if "reshape" in config else config["dims"])
    shape = [dim.get_length() if dim.is_static else DYNAMIC for dim in tensor.get_partial_shape()]
    # The batch axis is set to max_batch_size, whatever it is.
    want, have = (dims, shape[1:]) if batches else (dims, shape)
    exact = kind == "output"
    fits = len(want) == len(have) and all(
        a == b or (b == DYNAMIC and not exact) for a, b in zip(want, have, strict=True)
    )
    if not fits:
        raise RefusedConfigError(
            f"{kind} {config['name']!r} is {dims} in the configuration and {shape} in the network"
            f"{', whose first axis is the batch' if batches else ''}"
        )
