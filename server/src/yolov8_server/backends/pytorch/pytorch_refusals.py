# SPDX-License-Identifier: Apache-2.0
"""Match tensors with arguments as Triton's pytorch backend does, and refuse what it refuses or fails at each request.

The backend finds an input by the name of the argument of ``forward``. If a name is no argument, it takes the numbers of
all names such as ``INPUT__0``, and if one has none, the order of the configuration. It finds an output by such a
number, or else by the order. The module does no I/O and uses the standard library alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DYNAMIC = -1
_AOT_INDUCTOR = "torch_aoti"
_NOT_SERVED = ("sequence_batching", "batch_input", "batch_output", "model_operations")
_DELIMITER = "__"
_UNSUPPORTED = ("TYPE_UINT16", "TYPE_UINT32", "TYPE_UINT64", "TYPE_BF16")


class RefusedConfigError(ValueError):
    """The model can't be served with its configuration."""


def check_environment(config: Mapping[str, Any]) -> None:
    """Refuse unsupported fields of the configuration; called before the module is loaded."""
    if config.get("platform") == _AOT_INDUCTOR:
        raise RefusedConfigError(
            "platform torch_aoti (AOTInductor packages, .pt2) is not served: Triton's own backend runs it without "
            "batches, and only on the device that it was compiled for; export TorchScript, for pytorch_libtorch"
        )
    for field in _NOT_SERVED:
        if config.get(field):
            raise RefusedConfigError(f"{field} is not served by the embedded pytorch backend")
    for side in ("input", "output"):
        if not config.get(side):
            raise RefusedConfigError(f"model configuration must contain at least one {side}, none were specified")
        for tensor in config[side]:
            _check_tensor(side, tensor)


def _check_tensor(side: str, tensor: Mapping[str, Any]) -> None:
    if tensor["data_type"] in _UNSUPPORTED:
        raise RefusedConfigError(f"unsupported datatype {tensor['data_type']} for {side} {tensor['name']!r}")
    if tensor["data_type"] == "TYPE_STRING":
        raise RefusedConfigError(
            f"{side} {tensor['name']!r}: TYPE_STRING is not served by the embedded pytorch backend"
        )
    if tensor.get("optional") or tensor.get("allow_ragged_batch"):
        raise RefusedConfigError(f"{side} {tensor['name']!r}: optional and ragged inputs are not served here")


def check_inputs(config: Mapping[str, Any], arguments: Sequence[tuple[str, str]]) -> None:
    """Refuse a configuration with another number of inputs than the module has arguments.

    Args:
        config: the model's configuration.
        arguments: name and type of each argument of the module's ``forward``, without ``self``.
    """
    for name, kind in arguments:
        if kind != "Tensor":
            raise RefusedConfigError(f"argument {name!r} of the module is a {kind}; tensors alone are served here")
    if len(arguments) != len(config["input"]):
        names = ", ".join(name for name, _ in arguments)
        raise RefusedConfigError(
            f"configuration expects {len(config['input'])} inputs, model provides {len(arguments)}: {names or 'none'}"
        )


def input_order(config: Mapping[str, Any], arguments: Sequence[str]) -> list[str]:
    """Return the names of the inputs in the order of the arguments."""
    names = [tensor["name"] for tensor in config["input"]]
    if all(name in arguments for name in names):
        places = {name: arguments.index(name) for name in names}
    else:
        places = _places(names)
    if sorted(places.values()) != list(range(len(names))):
        raise RefusedConfigError(f"inputs {', '.join(names)} don't name each argument of the module once")
    return sorted(names, key=places.__getitem__)


def output_places(config: Mapping[str, Any]) -> dict[str, int]:
    """Return the index of each declared output among the module's."""
    return _places([tensor["name"] for tensor in config["output"]])


def _places(names: Sequence[str]) -> dict[str, int]:
    """Return the number behind the first ``__`` of each name, or the order if a name has none."""
    numbers = [name.partition(_DELIMITER)[2] for name in names]
    if all(text.isascii() and text.isdecimal() for text in numbers):
        return {name: int(text) for name, text in zip(names, numbers, strict=True)}
    return {name: index for index, name in enumerate(names)}


def check_output(
    declared: Mapping[str, Any],
    place: int,
    found: Sequence[tuple[Sequence[int], str]],
    types: Mapping[str, str],
    *,
    batches: bool,
) -> None:
    """Refuse an output that the module doesn't give so.

    Args:
        declared: the output in the configuration.
        place: its index among the module's outputs.
        found: shape and type of each output of a run with one image.
        types: the module's types by those of configurations.
        batches: whether the first axis is the batch.
    """
    name = declared["name"]
    if place >= len(found):
        raise RefusedConfigError(
            f"The output {name} in the model configuration refers to an output index which doesn't exist. "
            f"This model has {len(found)} outputs"
        )
    shape, kind = found[place]
    if types[declared["data_type"]] != kind:
        raise RefusedConfigError(
            f"output {name!r} is {declared['data_type']} in the configuration, the module's {kind}"
        )
    dims = list(declared["reshape"]["shape"] if "reshape" in declared else declared["dims"])
    want, have = dims, list(shape[1:] if batches else shape)
    if len(want) != len(have) or any(a not in (b, DYNAMIC) for a, b in zip(want, have, strict=True)):
        raise RefusedConfigError(f"output {name!r} is {want} in the configuration, the module gives {have}")
