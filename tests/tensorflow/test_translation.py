# SPDX-License-Identifier: Apache-2.0
"""Networks of other architectures compute the same in TensorFlow as in ONNX Runtime; weights are random."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from ultralytics import YOLO

from yolov8_export.errors import UnsupportedError
from yolov8_export.graph.saved_model import network_function
from yolov8_export.runtime import onnx_runner
from yolov8_export.source.checkpoint import for_export
from yolov8_export.source.tracing import traced_network

SIZE = 64


def network(architecture: str) -> ir.Model:
    module = for_export(YOLO(f"{architecture}.yaml").model.float().eval())
    images = torch.zeros(1, 3, SIZE, SIZE)
    with torch.no_grad():
        module(images)
        outputs = module(images)
    return traced_network(module, images, outputs=len(outputs) if isinstance(outputs, tuple) else 1, opset=18)


@pytest.mark.parametrize(
    "architecture", ["yolov5n", "yolov8n-p2", "yolov9t", "yolo11n-pose", "yolo12n", "yolo26n-obb", "yolo11n-cls"]
)
def test_other_architectures_are_translated(architecture: str) -> None:
    made = network(architecture)
    function, run = network_function(made), onnx_runner(made, called="the network")
    for batch in (1, 3):
        images = np.random.default_rng(batch).random((batch, 3, SIZE, SIZE), np.float32)
        found = function(images)
        for name, expected in zip(sorted(found), run(images), strict=True):
            np.testing.assert_allclose(found[name].numpy(), expected, rtol=1e-4, atol=1e-3)


def test_an_operator_without_a_counterpart_is_named() -> None:
    made = network("yolov8n")
    node: Any = next(node for node in made.graph if node.op_type == "Sigmoid")
    node.op_type = "HardSwish"

    with pytest.raises(
        UnsupportedError, match="the operator HardSwish, which is not translated; use another --network"
    ):
        network_function(made)
