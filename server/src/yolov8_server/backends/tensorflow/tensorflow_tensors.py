# SPDX-License-Identifier: Apache-2.0
"""Match the tensors of a configuration with those of a SavedModel's signature, and refuse what can't be served.

A tensor is found by its name. Converters rename outputs (``output_0`` for ``output0``), and so a configuration with
other names gets, in the order of the names, the first output that fits. An output of images whose channels are last is
transposed, if the configuration has channels first. The module does no I/O and uses the standard library alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DYNAMIC = -1
_NOT_SERVED = ("sequence_batching", "batch_input", "batch_output", "model_operations")
_TYPES = {
    "TYPE_BOOL": "bool",
    "TYPE_UINT8": "uint8",
    "TYPE_INT8": "int8",
    "TYPE_INT16": "int16",
    "TYPE_INT32": "int32",
    "TYPE_INT64": "int64",
    "TYPE_FP16": "float16",
    "TYPE_FP32": "float32",
    "TYPE_FP64": "float64",
}
_PICTURES = 4
"""Axes of images with the batch."""
_TO_PLANES = (0, 3, 1, 2)


class RefusedConfigError(ValueError):
    """The model can't be served with its configuration."""


@dataclass(frozen=True)
class Found:
    """The type and shape of a tensor of the signature, with the batch axis; None for lengths, or a shape, unknown."""

    kind: str
    shape: tuple[int | None, ...] | None

    def fits(self, dims: Sequence[int], *, batches: bool) -> bool:
        """Return whether a tensor may have these dims, where -1 is any length, behind its batch axis."""
        if self.shape is None:
            return True
        own = self.shape[1:] if batches else self.shape
        pairs = zip(own, dims, strict=False)
        return len(own) == len(dims) and all(one is None or other in (one, DYNAMIC) for one, other in pairs)


@dataclass(frozen=True)
class Source:
    """Where an output comes from: its name in the signature, and whether it is transposed."""

    name: str
    transposed: bool = False

    def of(self, outputs: Mapping[str, Any]) -> Any:
        """Return the tensor from the outputs of a run."""
        tensor = outputs[self.name]
        if not self.transposed:
            return tensor
        import tensorflow as tf

        return tf.transpose(tensor, _TO_PLANES)


def check_environment(config: Mapping[str, Any]) -> None:
    """Refuse unsupported fields of the configuration; called before the model is loaded."""
    for field in _NOT_SERVED:
        if config.get(field):
            raise RefusedConfigError(f"{field} is not served by the tensorflow backend")
    for side in ("input", "output"):
        if not config.get(side):
            raise RefusedConfigError(f"model configuration must contain at least one {side}, none were specified")
        for tensor in config[side]:
            if tensor["data_type"] not in _TYPES:
                raise RefusedConfigError(f"unsupported datatype {tensor['data_type']} for {side} {tensor['name']!r}")
            if tensor.get("optional") or tensor.get("allow_ragged_batch") or "reshape" in tensor:
                raise RefusedConfigError(f"{side} {tensor['name']!r}: optional, ragged and reshape are not served here")


def input_names(config: Mapping[str, Any], found: Mapping[str, Found]) -> dict[str, str]:
    """Return the signature's name of each input.

    Raises:
        RefusedConfigError: The signature has others, of another type or shape, or with a fixed batch.
    """
    names = _matched_inputs(config["input"], found)
    batches = config["max_batch_size"] > 0
    for tensor in config["input"]:
        inner = found[names[tensor["name"]]]
        if _TYPES[tensor["data_type"]] != inner.kind or not inner.fits(tensor["dims"], batches=batches):
            raise _other_shape("input", tensor, inner)
        fixed = inner.shape[0] if inner.shape else None
        if batches and fixed is not None and fixed != config["max_batch_size"]:
            raise RefusedConfigError(
                f"input {tensor['name']!r} has a fixed batch of {fixed}, max_batch_size is {config['max_batch_size']}; "
                f"set it to {fixed}, or export the model with a dynamic batch"
            )
        if batches and fixed not in (None, 1):
            raise RefusedConfigError(
                f"input {tensor['name']!r} has a fixed batch of {fixed}, and requests bring other numbers of images; "
                "export the model with a batch of 1, or a dynamic one"
            )
    return names


def output_sources(config: Mapping[str, Any], found: Mapping[str, Found]) -> dict[str, Source]:
    """Return where each output comes from.

    Raises:
        RefusedConfigError: The signature lacks it, or has it of another type or shape.
    """
    names, batches = [tensor["name"] for tensor in config["output"]], config["max_batch_size"] > 0
    by_name = all(name in found for name in names)
    if not by_name and len(names) != len(found):
        raise _other_number("output", names, found)
    sources: dict[str, Source] = {}
    for tensor in sorted(config["output"], key=lambda tensor: str(tensor["name"])):
        left = [name for name in sorted(found) if name not in {source.name for source in sources.values()}]
        candidates = [tensor["name"]] if by_name else left
        fitting = (_source(tensor, name, found[name], batches=batches) for name in candidates)
        source = next((one for one in fitting if one is not None), None)
        if source is None:
            raise _other_shape("output", tensor, found[candidates[0]])
        sources[tensor["name"]] = source
    return sources


def _source(tensor: Mapping[str, Any], name: str, found: Found, *, batches: bool) -> Source | None:
    """Return an output of the signature as the source of a declared one, or None if it doesn't fit."""
    dims = list(tensor["dims"])
    if _TYPES[tensor["data_type"]] != found.kind:
        return None
    if found.fits(dims, batches=batches):
        return Source(name)
    is_last = batches and len(dims) == _PICTURES - 1 and found.fits([*dims[1:], dims[0]], batches=True)
    return Source(name, transposed=True) if is_last else None


def _matched_inputs(declared: Sequence[Mapping[str, Any]], found: Mapping[str, Found]) -> dict[str, str]:
    """Return the signature's names by the configuration's: the same ones, or else in the order of the names."""
    names = [tensor["name"] for tensor in declared]
    if len(names) != len(found):
        raise _other_number("input", names, found)
    same = all(name in found for name in names)
    return {name: name for name in names} if same else dict(zip(sorted(names), sorted(found), strict=True))


def _other_number(side: str, names: Sequence[str], found: Mapping[str, Found]) -> RefusedConfigError:
    return RefusedConfigError(
        f"configuration expects {len(names)} {side}s, model provides {len(found)}: {', '.join(sorted(found))}"
    )


def _other_shape(side: str, tensor: Mapping[str, Any], found: Found) -> RefusedConfigError:
    shown = [DYNAMIC if length is None else length for length in found.shape or ()]
    return RefusedConfigError(
        f"{side} {tensor['name']!r} is {tensor['data_type']} {list(tensor['dims'])} in the configuration, the model's "
        f"{found.kind} {shown} with the batch"
    )
