# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reduce a network to FP16 in PyTorch.

As in ONNX, what lies behind the last trained layers stays in FP32: it turns distributions into boxes in pixels, and at
the input's size FP16 has steps of half a pixel.
"""

from __future__ import annotations

from typing import Any

import torch

_TRANSPOSITION = "TBackward0"


def reduce_to_fp16(network: torch.nn.Module, images: torch.Tensor) -> torch.nn.Module:
    """Reduce a network in place; it still takes and returns FP32.

    Args:
        network: A network in evaluation mode, as `torch.jit.trace` takes it.
        images: Images of the size that it will be traced with.
    """
    last, behind = _last_trained(network, images)
    for module in network.modules():
        own = [tensor for tensor in _own(module) if tensor.is_floating_point()]
        if not own or any(tensor in behind for tensor in own):
            continue
        for tensor in own:
            tensor.data = tensor.data.half()
        module.register_forward_pre_hook(_takes_fp16)
        if any(tensor in last for tensor in own):
            module.register_forward_hook(_returns_fp32)
    return network


def _last_trained(network: torch.nn.Module, images: torch.Tensor) -> tuple[set[torch.Tensor], set[torch.Tensor]]:
    """Return the weights from which a way leads to an output past no other trained weights, and those on such ways."""
    flags = {weight: weight.requires_grad for weight in network.parameters()}
    network.requires_grad_(True)
    with torch.enable_grad():
        outputs = network(images)
    last, behind = set(), set()
    reached = {one.grad_fn for one in (outputs if isinstance(outputs, tuple) else (outputs,)) if one.requires_grad}
    waiting = list(reached)
    while waiting:
        before = _before(waiting.pop())
        weights = {function.variable for function in before if hasattr(function, "variable")}
        if any(_is_trained(weight) for weight in weights):
            last |= weights
            continue
        behind |= weights
        waiting += set(before) - reached
        reached.update(before)
    for weight, flag in flags.items():
        weight.requires_grad_(flag)
    return last, behind - last


def _before(function: Any) -> list[Any]:
    """Return the functions whose results a function took; a linear layer takes its weights through a transposition."""
    found = [one for one, _ in function.next_functions if one is not None]
    return found + [one for last in found if last.name() == _TRANSPOSITION for one in _before(last)]


def _is_trained(weight: torch.Tensor) -> bool:
    """Tell trained weights from those of the convolution that sums up a distribution, which has one output."""
    return weight.dim() > 1 and len(weight) > 1


def _own(module: torch.nn.Module) -> list[torch.Tensor]:
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]


def _takes_fp16(_module: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(one.half() if isinstance(one, torch.Tensor) and one.is_floating_point() else one for one in inputs)


def _returns_fp32(_module: torch.nn.Module, _inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
    return output.float()
