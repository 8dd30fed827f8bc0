# SPDX-License-Identifier: Apache-2.0
"""A plan says what an exported model takes, and where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.unit.export.conftest import Export
from tests.unit.export.tiny_networks import IMGSZ
from yolov8_export.config.deployment import deployment_from
from yolov8_export.errors import RepositoryError
from yolov8_export.estimates import GPUS, estimate, read_cost

SIDE = 10


def convolution(path: Path, *, quantized: bool) -> Path:
    """Write one 3 x 3 convolution from 3 to 8 channels over 10 x 10 pixels."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weights = np.ones((8, 3, 3, 3), np.int8 if quantized else np.float32)
    stored = [numpy_helper.from_array(weights, "stored")]
    nodes = [helper.make_node("Conv", ["images", "w" if quantized else "stored"], ["output0"], pads=[1, 1, 1, 1])]
    if quantized:
        stored += [numpy_helper.from_array(np.float32(0.1), "scale"), numpy_helper.from_array(np.int8(0), "zero")]
        nodes.insert(0, helper.make_node("DequantizeLinear", ["stored", "scale", "zero"], ["w"]))
    ends = [
        helper.make_tensor_value_info(name, 1, ["batch", channels, SIDE, SIDE])
        for name, channels in (("images", 3), ("output0", 8))
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


@pytest.mark.parametrize("quantized", [False, True], ids=["fp32", "int8"])
def test_operations_and_memory_are_those_of_the_arithmetic(tmp_path: Path, quantized: bool) -> None:
    cost = read_cost(convolution(tmp_path / "m.onnx", quantized=quantized))

    assert cost.operations == 2 * 8 * SIDE * SIDE * 3 * 3 * 3
    assert cost.weight_bytes == 8 * 3 * 3 * 3 * (1 if quantized else 4) + (5 if quantized else 0)
    images, output, restored = (4 * channels * SIDE * SIDE for channels in (3, 8, 0))
    assert cost.activation_bytes >= images + output + restored


def test_a_plan_for_a_gpu_shows_each_members_device_and_memory(export_tiny: Export, repository: Path) -> None:
    export_tiny(deployment=deployment_from("gpu", gpus=(0, 1)))

    plan = estimate(repository, "tiny")

    assert [(m.name, m.device) for m in plan.members] == [
        ("tiny_check", "CPU"),
        ("tiny_preprocess", "GPU 0,1"),
        ("tiny_network", "GPU 0,1"),
        ("tiny_postprocess", "CPU"),
    ]
    assert plan.members[1].tensor_bytes == 3 * IMGSZ[0] * IMGSZ[1] + 8
    assert set(plan.gpu_mib) >= {"weights", "activations", "decoding", "pool for tensors"}
    assert plan.to_json()["precision"] == "fp32"


def test_each_instance_of_a_plan_has_the_weights(
    export_tiny: Export, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton's backend shares a plan among instances only if no dimension varies; the batch does."""
    export_tiny(deployment=deployment_from("gpu", instances=3))
    large = lambda path: replace(read_cost(path), weight_bytes=10 * 2**20)  # noqa: E731
    monkeypatch.setattr("yolov8_export.estimates.read_cost", large)

    assert estimate(repository, "tiny").gpu_mib["weights"] == 31


def test_the_slowest_stage_is_named(export_tiny: Export, repository: Path) -> None:
    """The time for copying the output adds to the network's; processes on the CPU share the images."""
    deployments: dict[str, dict[str, int]] = {"few": {}, "more": {"check_instances": 40, "postprocess_instances": 40}}
    plans = {}
    for name, instances in deployments.items():
        export_tiny(deployment=deployment_from("gpu", network_output="raw", **instances))
        plans[name] = estimate(repository, "tiny")
    t4, a100 = (next(gpu for gpu in GPUS if gpu.name == name) for name in ("T4", "A100"))

    assert plans["few"].bottleneck(a100, "fp16") == ("postprocess", (pytest.approx(2 / 1.8e-3),) * 2)
    assert plans["more"].bottleneck(a100, "fp16")[0] == "decoding"
    assert "decoding" not in plans["more"].stages(t4, "fp16")
    stages = plans["more"].stages(t4, "fp16")
    alone = t4.images_per_second(plans["more"].cost.operations, "fp16")
    assert plans["more"].copied_bytes == 4 * 7 * 32  # rows and anchors
    for served, network, copied in zip(stages["network and copy"], alone, (3e9, 6e9), strict=True):
        assert 1 / served == pytest.approx(1 / network + plans["more"].copied_bytes / copied)
    assert stages["postprocess"] == (pytest.approx(40 / 1.8e-3),) * 2


def test_a_plan_without_a_gpu_takes_nothing_there(export_tiny: Export, repository: Path) -> None:
    export_tiny()

    assert estimate(repository, "tiny").gpu_mib == {}


@pytest.mark.parametrize("name", ["nothing", "tiny_network"])
def test_what_is_no_served_model_is_refused(export_tiny: Export, repository: Path, name: str) -> None:
    export_tiny()

    with pytest.raises(RepositoryError, match=r"can't be read|is not an ensemble"):
        estimate(repository, name)


@pytest.mark.parametrize(
    ("name", "ms", "operations"), [("A100", 0.34, 8_700_000_000), ("A100", 3.53, 257_800_000_000)], ids=["n", "x"]
)
def test_estimates_hold_what_was_published(name: str, ms: float, operations: int) -> None:
    (gpu,) = [gpu for gpu in GPUS if gpu.name == name]

    low, high = gpu.images_per_second(operations, "fp16")

    assert low < 1000 / ms < high
