# SPDX-License-Identifier: AGPL-3.0-or-later
"""Trace a module of PyTorch into an ONNX network with a dynamic batch axis."""

from __future__ import annotations

import io
import warnings

import onnx
import onnx_ir as ir
import torch


def traced_network(module: torch.nn.Module, images: torch.Tensor, *, outputs: int, opset: int) -> ir.Model:
    """Return a module as an ONNX network, with the input ``images`` and the outputs ``output0``, ``output1``, ...

    Args:
        module: The module.
        images: Images of the size that the network is to have.
        outputs: The number of its outputs.
        opset: The ONNX opset version.
    """
    names, file = [f"output{index}" for index in range(outputs)], io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        # The tracer is deprecated in favour of one that makes the anchors dynamic and takes no TorchScript.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (images,),
            file,  # type: ignore[arg-type]  # the tracer writes into memory, too
            opset_version=opset,
            input_names=["images"],
            output_names=names,
            dynamic_axes={name: {0: "batch"} for name in ("images", *names)},
            dynamo=False,
        )
    return ir.from_proto(onnx.load_from_string(file.getvalue()))
