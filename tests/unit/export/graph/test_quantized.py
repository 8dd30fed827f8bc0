# SPDX-License-Identifier: AGPL-3.0-or-later
"""A network that onnxruntime has quantized dynamically is served, one image at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from tests.unit.export.conftest import Export
from tests.unit.export.tiny_networks import LABELS, write_onnx
from yolov8_export.checks.repository import check
from yolov8_export.config.files import CONFIG, read_config
from yolov8_export.config.recover import read_spec
from yolov8_export.config.tuning import Tuning
from yolov8_export.estimates import estimate
from yolov8_export.repository.custom_configs import add_config


def quantized(path: Path, batch: int | str) -> Path:
    """Write a network with biases; the quantizer reshapes each from [n] to [1, n, 1, 1]."""
    network = onnx.load(write_onnx(path, batch=batch))
    bias = numpy_helper.from_array(np.full(len(LABELS), -0.5, np.float32), "bias")
    network.graph.initializer.append(bias)
    for node in network.graph.node:
        if node.op_type == "Conv" and "scores" in node.input:
            node.input.append("bias")
    onnx.save(network, path)
    quantize_dynamic(path, path, weight_type=QuantType.QUInt8)
    reshaped = [node for node in onnx.load(path).graph.node if node.op_type == "Reshape" and "bias" in node.input[0]]
    assert reshaped
    return path


@pytest.fixture(params=[1, 4, "batch"], ids=["batch-of-1", "batch-of-4", "batch-dynamic"])
def weights(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return quantized(tmp_path / "quantized.onnx", request.param)


@pytest.mark.slow
def test_the_network_gives_what_the_file_gives(weights: Path, export_tiny: Export, repository: Path) -> None:
    report = export_tiny(weights=weights)

    assert max(report.verification.differences.values()) < 1e-5
    assert check(repository).findings == ()
    assert report.to_json()["notes"] == [
        "the network is quantized dynamically, by one range for a batch, so it runs one image at a time"
    ]


@pytest.mark.slow
def test_the_network_runs_one_image_at_a_time(weights: Path, export_tiny: Export, repository: Path) -> None:
    export_tiny(weights=weights)

    assert read_config(repository / "tiny_network" / CONFIG).max_batch_size == 1
    assert read_config(repository / "tiny_postprocess" / CONFIG).max_batch_size == 8


@pytest.mark.slow
def test_its_configurations_are_recovered_and_tuned(weights: Path, export_tiny: Export, repository: Path) -> None:
    export_tiny(weights=weights)
    written = {name: read_config(repository / name / CONFIG) for name in read_spec(repository, "tiny").configs()}

    assert read_spec(repository, "tiny").configs() == written
    add_config(repository, "tiny", "small", Tuning(max_batch_size=2))
    assert check(repository).findings == ()


@pytest.mark.slow
def test_its_operations_are_estimated(weights: Path, export_tiny: Export, repository: Path) -> None:
    export_tiny(weights=weights)

    estimated = estimate(repository, "tiny")

    assert estimated.precision == "int8"
    assert estimated.cost.operations > 0
