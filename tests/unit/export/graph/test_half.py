# SPDX-License-Identifier: AGPL-3.0-or-later
"""A network whose trained layers compute in FP16 in PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.data import shapes
from tests.data.figures import weights_path
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.graph.half import reduce_to_fp16
from yolov8_export.graph.torchscript import write_torchscript_in_fp16
from yolov8_export.overrides import ModelOverrides
from yolov8_export.progress import Progress
from yolov8_export.source.checkpoint import for_export, load_checkpoint, read_checkpoint
from yolov8_export.source.torchscript import load_torchscript

IMGSZ = (160, 160)
CASES = [
    *((task, "yolov8", None) for task in shapes.TASKS),
    ("segment", "yolo11", None),
    ("detect", "yolo26", "one2many"),
    ("detect", "yolo26", "one2one"),
]


def scenes(task: shapes.ShapeTask, count: int) -> torch.Tensor:
    images = [shapes.scene(98_000 + seed, task, size=IMGSZ).image[..., ::-1] for seed in range(count)]
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255)


def outputs(module: Any, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        found = module(images)
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize(("task", "family", "head"), CASES)
def test_trained_layers_compute_in_fp16_and_boxes_in_fp32(task: Any, family: str, head: Any) -> None:
    loaded = load_checkpoint(weights_path(task, family), head).module
    images = scenes(task, 2)
    expected = outputs(for_export(loaded), images)

    half = reduce_to_fp16(for_export(loaded), images[:1])

    trained = {name: weight.dtype for name, weight in half.named_parameters() if weight.dim() > 1 and len(weight) > 1}
    assert set(trained.values()) == {torch.float16}
    assert not any(weight.requires_grad for weight in half.parameters())
    found = outputs(half, images)
    for mine, other in zip(found, expected, strict=True):
        assert mine.dtype == torch.float32
        assert mine.shape == other.shape
        assert not mine.equal(other)
    if task == "classify":
        torch.testing.assert_close(found[0], expected[0], rtol=0, atol=1e-3)
        return
    columns = 4 if head == "one2one" else slice(4, 4 + len(shapes.LABELS))
    scores = [side[0][..., 4] if head == "one2one" else side[0][:, columns].amax(1) for side in (found, expected)]
    torch.testing.assert_close(*scores, rtol=0, atol=0.01)
    boxes = found[0][..., :4] if head == "one2one" else found[0][:, :4]
    assert (boxes != boxes.half().float()).float().mean() > 0.5, "boxes are rounded to FP16"


@pytest.mark.parametrize(("network_input", "output"), [("fp32", "raw"), ("uint8", "best-class")])
def test_the_file_takes_batches_and_has_no_tensor_of_a_fixed_device(
    tmp_path: Path, network_input: Any, output: Any
) -> None:
    weights = weights_path("segment", "yolov8")
    original = read_checkpoint(weights, ModelOverrides(), 18, Progress(), lambda _model: None)
    model = ServedModel(
        task=Task.SEGMENT,
        labels=shapes.LABELS,
        imgsz=IMGSZ,
        network_input=network_input,
        network_output=output,
    )
    run = write_torchscript_in_fp16(original, model, tmp_path / "model.pt")
    module, _ = load_torchscript(tmp_path / "model.pt")
    images = scenes("segment", 3)

    plain = run(images.numpy())
    if network_input == "fp32":
        found = outputs(module, images)
        np.testing.assert_array_equal(found[0].numpy(), plain[0])
    else:
        found = outputs(module, (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1))
        np.testing.assert_allclose(found[0][:, :4].numpy(), plain[0][:, :4], rtol=0, atol=0.05)
    assert "Device" not in str(module.inlined_graph), "it would not run on a GPU"
