# SPDX-License-Identifier: Apache-2.0
"""Read the options of a DALI model from its configuration, and refuse what Triton's own dali backend refuses.

Unknown ``parameters`` are ignored, as in Triton's own backend. The module uses the standard library alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GPU_KIND, CPU_KIND = "GPU", "CPU"
_NOT_SERVED = ("sequence_batching", "batch_input", "batch_output", "model_operations")


class RefusedConfigError(ValueError):
    """The model can't be served with its configuration."""


@dataclass(frozen=True, slots=True)
class DaliOptions:
    """How a pipeline is built.

    Attributes:
        max_batch_size: Images of one run; 0 keeps the pipeline's own size, and runs each request alone.
        threads: Threads of the pipeline on the CPU, or None for the pipeline's own number.
        device: Index of the GPU, or None for the CPU.
        split: Names of outputs whose outer dimension becomes the batch's.
    """

    max_batch_size: int
    threads: int | None
    device: int | None
    split: frozenset[str]

    @classmethod
    def read(cls, config: Mapping[str, Any], *, kind: str, device: str) -> DaliOptions:
        """Read the configuration, and an instance's kind and device, which Triton passes as texts.

        Raises:
            RefusedConfigError: if a value can't be used.
        """
        kind = kind.removeprefix("KIND_")
        if kind not in (GPU_KIND, CPU_KIND):
            raise RefusedConfigError(f"the instance's kind is {kind}, expected KIND_GPU or KIND_CPU")
        parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
        names = {tensor["name"] for tensor in config["output"]}
        split = frozenset(filter(None, parameters.get("split_along_outer_axis", "").split(":")))
        if split - names:
            raise RefusedConfigError(
                f"parameter split_along_outer_axis names {', '.join(sorted(split - names))}, expected outputs of the "
                f"configuration: {', '.join(sorted(names))}"
            )
        return cls(
            max_batch_size=int(config["max_batch_size"]),
            threads=_threads(parameters.get("num_threads")),
            device=int(device) if kind == GPU_KIND else None,
            split=split,
        )


def check_config(config: Mapping[str, Any]) -> None:
    """Refuse fields of the configuration that this backend does not serve.

    Raises:
        RefusedConfigError: with the field's name.
    """
    for field in _NOT_SERVED:
        if config.get(field):
            raise RefusedConfigError(f"{field} is not served by the embedded dali backend")
    for tensor in (*config["input"], *config["output"]):
        if tensor["data_type"] == "TYPE_STRING":
            raise RefusedConfigError(f"{tensor['name']!r}: DALI has no TYPE_STRING: encoded images are TYPE_UINT8")


def _threads(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        threads = int(text)
    except ValueError:
        threads = 0
    if threads < 1:
        raise RefusedConfigError(f"parameter num_threads is {text!r}, expected a whole number from 1")
    return threads
