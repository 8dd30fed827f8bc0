# SPDX-License-Identifier: Apache-2.0
"""Refuse every configuration that Triton's own openvino backend refuses, or for which each of its requests fails.

Triton's backend fixes a network's batch size at ``max_batch_size``. It refuses a request of any other size, even where
the batcher could combine several to that size. With ENABLE_BATCH_PADDING it pads the request at the cost of a full
batch, and truncates the full batch that follows. So only the sizes 0 and 1 work. The module does no I/O and uses the
standard library alone.
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
    """The model can't be served with its configuration."""


def check_environment(config: Mapping[str, Any], instance_kind: str) -> None:
    """Refuse unsupported fields of the configuration; called before the network is loaded."""
    if instance_kind != "CPU":
        raise RefusedConfigError(f"the openvino backend runs on KIND_CPU alone, got KIND_{instance_kind}")
    for field in _NOT_SERVED:
        if config.get(field):
            raise RefusedConfigError(f"{field} is not served by the embedded openvino backend")
    if config["max_batch_size"] > 1:
        raise RefusedConfigError(
            f"max_batch_size is {config['max_batch_size']}: the openvino backend fixes the network's batch size at it "
            "and refuses requests of any other size; set max_batch_size to 1"
        )


def check_tensors(config: Mapping[str, Any], *, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Refuse a configuration whose tensors differ from the network's.

    All inputs must be declared; outputs may be left out.

    Args:
        config: the model's configuration.
        inputs: the network's inputs (`openvino.Output` objects).
        outputs: the network's outputs (`openvino.Output` objects).
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
        # Triton's own backend would convert the values without a message; a wrong declaration is more likely.
        raise RefusedConfigError(
            f"{kind} {config['name']!r} is {config['data_type']} in the configuration and "
            f"{provided or element} in the network"
        )


def _check_dims(kind: str, config: Mapping[str, Any], tensor: Any, *, batches: bool) -> None:
    dims = list(config["reshape"]["shape"] if "reshape" in config else config["dims"])
    shape = [dim.get_length() if dim.is_static else DYNAMIC for dim in tensor.get_partial_shape()]
    # OpenVINO sets the batch axis to max_batch_size, so its length in the network doesn't matter.
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
