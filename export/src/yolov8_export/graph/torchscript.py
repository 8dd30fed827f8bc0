# SPDX-License-Identifier: AGPL-3.0-or-later
"""Make the TorchScript file that Triton's pytorch backend loads, and compare it with its original.

The file runs without Ultralytics and takes batches of any size. Its convolutions work on channels last, which takes a
ninth less processor time on a CPU than planes.
"""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import torch

from yolov8_contract.candidates import BOX_ROWS
from yolov8_contract.served_model import ServedModel
from yolov8_export.graph.half import reduce_to_fp16
from yolov8_export.graph.verify import Verification, verify
from yolov8_export.runtime import Run
from yolov8_export.source.original import Original
from yolov8_export.source.torchscript import load_torchscript, module_runner

_WHITE = 255.0
_CALLED = "TorchScript"


def write_torchscript(original: Original, model: ServedModel, path: Path) -> Verification:
    """Write the network of a served model as TorchScript.

    A given TorchScript file is copied as it is, unless the model has another input or output than the file's.

    Args:
        original: The network, with its ``module``.
        model: The model with its input and output, as served.
        path: The file to write.

    Returns:
        The differences of the network from its original, before input and output are changed.

    Raises:
        VerificationError: The network differs from its original.
    """
    assert original.module is not None  # the export has refused ONNX files
    module = original.module()
    if original.source.format == "torchscript":
        shutil.copyfile(original.source.path, path)
    else:
        _save(_traced(_Served(module), _planes(model)), path)
    found = verify(_loaded(path), original.run, original.model, against=original.reference, called=_CALLED)
    _write_changed(module, model, path)
    return found


def write_torchscript_in_fp16(original: Original, model: ServedModel, path: Path) -> Run:
    """Write the network of a served model as TorchScript whose trained layers compute in FP16.

    Args:
        original: A checkpoint's network, with its ``module``.
        model: The model with its input and output, as served.
        path: The file to write.

    Returns:
        A function that runs the network as it is before input and output are changed.
    """
    assert original.module is not None  # the export has refused ONNX files
    module = reduce_to_fp16(original.module(), _planes(model))
    _save(_traced(_Served(module), _planes(model)), path)
    run = _loaded(path)
    _write_changed(module, model, path)
    return run


def _write_changed(module: torch.nn.Module, model: ServedModel, path: Path) -> None:
    """Write a network anew, if it is served with another input or output than it has."""
    if model.network_input == "uint8" or model.network_output == "best-class":
        pixels = torch.zeros(1, *model.imgsz, 3, dtype=torch.uint8)
        images = pixels if model.network_input == "uint8" else _planes(model)
        _save(_traced(_Served(module, model), images), path)


def _planes(model: ServedModel) -> torch.Tensor:
    return torch.zeros(1, 3, *model.imgsz)


def _loaded(path: Path) -> Run:
    module, _ = load_torchscript(path)
    return module_runner(module, called="the TorchScript network")


class _Served(torch.nn.Module):
    """A network between the tensors of its neighbours.

    Triton's backend finds the input by the name of the argument, and takes several outputs as a tuple.
    """

    def __init__(self, network: torch.nn.Module, model: ServedModel | None = None) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)
        self.takes_pixels = model is not None and model.network_input == "uint8"
        self.classes = len(model.labels) if model is not None and model.network_output == "best-class" else 0

    def forward(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        if self.takes_pixels:  # pixels are channels last already, so nothing is transposed
            images = images.permute(0, 3, 1, 2).float() / _WHITE
        outputs = self.network(images.contiguous(memory_format=torch.channels_last))
        head, *others = outputs if isinstance(outputs, tuple) else (outputs,)
        if self.classes:
            head = _best_class(head, self.classes)
        tensors = tuple(tensor.contiguous() for tensor in (head, *others))
        return tensors if others else tensors[0]


def _best_class(head: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Return a head with the best score and its class in place of all scores; NaN and the first of equals win."""
    boxes, scores = head[:, :BOX_ROWS], head[:, BOX_ROWS : BOX_ROWS + num_classes]
    best, at = scores.max(dim=1, keepdim=True)
    return torch.cat([boxes, best, at.float(), head[:, BOX_ROWS + num_classes :]], dim=1)


def _traced(module: torch.nn.Module, images: torch.Tensor) -> Any:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises against TorchScript since 2.9; Triton's backend loads it
        module.eval()(images)  # the first call makes the anchors, which become constants
        return torch.jit.trace(module, images, check_trace=False)  # type: ignore[no-untyped-call]


def _save(traced: Any, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced.save(str(path))
