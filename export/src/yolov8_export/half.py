# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reduce a network to FP16; inputs and outputs stay FP32, and so do boxes (see `float_tail`)."""

from __future__ import annotations

from pathlib import Path

import onnx

from yolov8_export.float_tail import float_tail


def halve(path: Path) -> None:
    """Convert an ONNX file in place.

    TensorRT 11 takes precision from the graph: this is what makes an FP16 plan.
    """
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    file = onnx.load(path)
    half = convert_float_to_float16(
        file,
        keep_io_types=True,
        op_block_list=[name for name in DEFAULT_OP_BLOCK_LIST if name != "Resize"],  # it only repeats pixels here
        node_block_list=float_tail(file),
    )
    OnnxModel(half).topological_sort()  # the casts behind its inputs were put last, and ONNX wants them first
    onnx.checker.check_model(half)
    onnx.save(half, path)
