# SPDX-License-Identifier: Apache-2.0
"""Networks of lower precision, and the limit that keeps a bad one out; quantising itself is tested in tests/int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tests import corpus
from tests.unit.export.conftest import Export
from tests.unit.export.tiny_networks import IMGSZ, LABELS, write_onnx
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.choices import CalibrationData
from yolov8_export.config.deployment import Deployment
from yolov8_export.errors import AccuracyError, OptionError
from yolov8_export.graph.rewrite import accept_pixels
from yolov8_export.precision import accuracy
from yolov8_export.precision.accuracy import Accuracy
from yolov8_export.precision.images import Picture, image_files, pictures
from yolov8_export.precision.quantize import fp32_nodes, to_fp16
from yolov8_export.precision.reduce import check_calibration_data
from yolov8_export.runtime import onnx_runner

MODEL = ServedModel(task=Task.DETECT, labels=LABELS, imgsz=IMGSZ)
BOX = [[16.0, 16.0, 12.0, 10.0], [48.0, 16.0, 20.0, 8.0]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "images"
    made.mkdir()
    for seed in range(6):
        cv2.imwrite(str(made / f"{seed}.png"), corpus.picture(40 + seed, 50, seed=seed))
    return made


def head(*scores: float, shift: float = 0.0) -> np.ndarray:
    """Return a detector's output: two anchors with the given scores of class 0."""
    rows = np.zeros((1, 4 + len(LABELS), len(scores)), np.float32)
    rows[0, :4] = np.array(BOX[: len(scores)]).T + shift
    rows[0, 4] = scores
    return rows


def picture() -> Picture:
    return Picture(Path("a.jpg"), np.zeros((1, 3, *IMGSZ), np.float32), IMGSZ)


def compared(after: np.ndarray, before: np.ndarray) -> Accuracy:
    return accuracy.Judge(lambda _: [before], MODEL, [picture()], None, engine="onnxruntime")(lambda _: [after])


@pytest.mark.parametrize(
    ("after", "matched"),
    [
        pytest.param(head(0.9, 0.8), 1.0, id="the-same"),
        pytest.param(head(0.9, 0.1), 0.5, id="one-lost"),
        pytest.param(head(0.1, 0.1), 0.0, id="all-lost"),
        pytest.param(head(0.9, 0.8, shift=30), 0.0, id="elsewhere"),
    ],
)
def test_the_share_of_objects_that_both_find_is_told(after: np.ndarray, matched: float) -> None:
    assert compared(after, head(0.9, 0.8)).matched == matched


def test_objects_that_only_the_reduced_network_finds_count_against_it() -> None:
    assert compared(head(0.9, 0.8), head(0.9, 0.1)).matched == 0.5


def test_how_far_scores_move_is_told() -> None:
    assert compared(head(0.7, 0.7), head(0.9, 0.8)).score_shift == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({"matched": 0.95}, True),
        ({"matched": 0.85}, False),
        ({"matched": float("nan")}, False),
        ({"matched": 0.1, "map_before": 0.5, "map_after": 0.495}, True),
        ({"matched": 1.0, "map_before": 0.5, "map_after": 0.48}, False),
        ({"matched": 1.0, "map_before": 0.5, "map_after": float("nan")}, False),
    ],
)
def test_the_limit_is_on_map_where_it_is_known_else_on_matches(changes: dict[str, Any], passes: bool) -> None:
    judged = Accuracy(**({"engine": "onnxruntime", "images": 9, "objects": 20, "score_shift": 0.0} | changes))

    if passes:
        accuracy.check(judged, max_map_loss=0.01, min_matched=0.9)
    else:
        with pytest.raises(AccuracyError, match=r"loses too much.*nothing was written"):
            accuracy.check(judged, max_map_loss=0.01, min_matched=0.9)


def test_images_without_a_single_object_prove_nothing() -> None:
    judged = Accuracy(engine="onnxruntime", images=9, objects=0, matched=0.0, score_shift=0.0)

    with pytest.raises(AccuracyError, match="finds nothing on the evaluation images"):
        accuracy.check(judged, max_map_loss=0.01, min_matched=0.9)


@pytest.mark.parametrize(
    ("deployment", "calibration_data", "reason"),
    [
        pytest.param({"precision": "fp16"}, {}, "fp16 needs --evaluation", id="fp16-without-images"),
        pytest.param(
            {"precision": "bf16", "engine": "openvino"}, {}, "bf16 needs --evaluation", id="bf16-without-images"
        ),
        pytest.param({"precision": "fp16"}, {"evaluation": Path("nowhere")}, "expected a folder", id="no-folder"),
    ],
)
def test_what_is_missing_is_said_before_the_long_steps(
    deployment: dict[str, Any], calibration_data: dict[str, Any], reason: str
) -> None:
    with pytest.raises(OptionError, match=reason):
        check_calibration_data(deployment["precision"], "onnxruntime", CalibrationData(**calibration_data))


@pytest.mark.parametrize("task", [Task.DETECT, Task.CLASSIFY], ids=lambda task: task.value)
def test_an_image_becomes_what_the_preprocess_member_makes_of_it(folder: Path, task: Task) -> None:
    model = ServedModel(task=task, labels=LABELS, imgsz=(32, 32))

    made = list(pictures(image_files(folder, "--evaluation"), model))

    assert [seen.orig_shape for seen in made] == [(40 + seed, 50) for seed in range(6)]
    assert all(seen.images.shape == (1, 3, 32, 32) and seen.images.dtype == np.float32 for seen in made)
    assert np.array_equal(np.rint(made[0].images * 255) / np.float32(255), made[0].images)


def network_with_tail() -> ir.Model:
    """Two convolutions, a softmax, the one-channel convolution with fixed weights, an addition."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weights = [
        numpy_helper.from_array(np.ones((4, 3, 1, 1), np.float32), "w0"),
        numpy_helper.from_array(np.ones((4, 4, 1, 1), np.float32), "w1"),
        numpy_helper.from_array(np.ones((1, 4, 1, 1), np.float32), "fixed"),
        numpy_helper.from_array(np.ones((1,), np.float32), "anchor"),
    ]
    nodes = [
        helper.make_node("Conv", ["images", "w0"], ["a"], "conv0"),
        helper.make_node("Sigmoid", ["a"], ["b"], "act"),
        helper.make_node("Conv", ["b", "w1"], ["c"], "conv1"),
        helper.make_node("Softmax", ["c"], ["d"], "softmax", axis=1),
        helper.make_node("Conv", ["d", "fixed"], ["e"], "distances"),
        helper.make_node("Add", ["e", "anchor"], ["output0"], "boxes"),
    ]
    ends = [helper.make_tensor_value_info(name, 1, ["batch", None, 8, 8]) for name in ("images", "output0")]
    return ir.from_proto(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)))


def test_what_lies_behind_the_last_trained_weights_stays_float() -> None:
    assert fp32_nodes(network_with_tail()) == ["softmax", "distances", "boxes"]


def test_pixels_give_to_the_bit_what_planes_give(tmp_path: Path) -> None:
    planes = ir.load(write_onnx(tmp_path / "planes.onnx"))
    pixels = accept_pixels(planes, "uint8")
    image = np.random.default_rng(0).integers(0, 256, (2, *IMGSZ, 3), dtype=np.uint8)

    expected = onnx_runner(planes, called="planes")(image.transpose(0, 3, 1, 2) / np.float32(255))
    got = onnx_runner(pixels, called="pixels")(image)

    assert np.array_equal(got[0], expected[0])


def test_a_network_of_half_precision_is_valid_and_may_take_pixels(tmp_path: Path) -> None:
    half = to_fp16(ir.load(write_onnx(tmp_path / "network.onnx")))
    onnx.checker.check_model(ir.to_proto(half))
    pixels = accept_pixels(half, "uint8")

    assert onnx_runner(pixels, called="half")(np.zeros((1, *IMGSZ, 3), np.uint8))[0].dtype == np.float32


def test_a_network_that_takes_pixels_is_exported_and_says_so(export_tiny: Export) -> None:
    report = export_tiny(deployment=Deployment(network_input="uint8"))

    (images,) = report.configs["tiny_network"].input
    assert list(images.dims) == [*IMGSZ, 3]
    assert report.network.model.network_input == "uint8"
    assert report.configs["tiny"].parameters["network_input"].string_value == '"uint8"'
