# SPDX-License-Identifier: Apache-2.0
"""``best-class`` networks give the same to the bit as numpy computes from all scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from tests import corpus, heads
from tests.unit.export.conftest import Export
from tests.unit.export.tiny_networks import IMGSZ, KPT_SHAPE, LABELS, shapes, write_onnx
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.checks.repository import check
from yolov8_export.choices import CalibrationData
from yolov8_export.config.deployment import Deployment, deployment_from
from yolov8_export.errors import OptionError, RepositoryError, UnsupportedError
from yolov8_export.estimates import estimate
from yolov8_export.graph.rewrite import accept_pixels, reduce_to_best_class
from yolov8_export.precision.quantize import to_fp16
from yolov8_export.runtime import onnx_runner

Floats = npt.NDArray[np.float32]

TASKS = [Task.DETECT, Task.SEGMENT, Task.POSE, Task.OBB]
BEST = Deployment(network_output="best-class", network_input="fp32")

every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.value)


def model(task: Task) -> ServedModel:
    return ServedModel(task=task, labels=LABELS, imgsz=IMGSZ, kpt_shape=KPT_SHAPE if task is Task.POSE else None)


def by_numpy(task: Task, outputs: list[Floats]) -> list[Floats]:
    images = [heads.best_class(model(task), list(image)) for image in zip(*outputs, strict=True)]
    return [np.stack(arrays) for arrays in zip(*images, strict=True)]


def assert_same(got: Any, expected: list[Floats]) -> None:
    assert [array.dtype for array in got] == [array.dtype for array in expected]
    for actual, wanted in zip(got, expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)


def images(count: int) -> Floats:
    return np.random.default_rng(count).random((count, 3, *IMGSZ), np.float32)


@every_task
@pytest.mark.parametrize("opset", [13, 18, 21])
def test_a_network_puts_out_what_numpy_makes_of_its_scores(task: Task, opset: int, tmp_path: Path) -> None:
    raw = ir.load(write_onnx(tmp_path / "raw.onnx", task, opset=opset))

    best = reduce_to_best_class(raw, len(LABELS))

    got = onnx_runner(best, called="best")(images(2))
    assert got[0].shape == (2, shapes(task)[0][0] - len(LABELS) + 2, shapes(task)[0][1])
    assert_same(got, by_numpy(task, list(onnx_runner(raw, called="raw")(images(2)))))


def passes_on(classes: int, extra: int, anchors: int) -> ir.Model:
    """Return a network that outputs its input."""
    dims = ["batch", 4 + classes + extra, anchors]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name in ("images", "output0")]
    graph = helper.make_graph([helper.make_node("Identity", ["images"], ["output0"])], "g", ends[:1], ends[1:])
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8))


@pytest.mark.parametrize("extra", [0, 32])
@pytest.mark.parametrize("classes", [3, 80, 3000])
def test_of_equal_scores_the_first_counts(classes: int, extra: int) -> None:
    network = passes_on(classes, extra, 500)
    served = ServedModel(task=Task.DETECT, labels=tuple(map(str, range(classes))), imgsz=IMGSZ)
    head = np.round(np.random.default_rng(0).random((2, 4 + classes + extra, 500), np.float32), 1)
    head[0, :, :9], head[1, 4 + classes - 1, 9] = 0.5, 1.0

    best = reduce_to_best_class(network, classes)

    expected = np.stack([heads.best_class(served, [image])[0] for image in head])
    assert_same(onnx_runner(best, called="best")(head), [expected])
    assert expected[0, 5, :9].max() == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
@pytest.mark.parametrize("row", [4, 40, 83])
def test_an_anchor_with_a_score_that_is_no_number_has_no_best_class(value: float, row: int) -> None:
    network = passes_on(80, 0, 10)
    head = np.random.default_rng(0).random((1, 84, 10), np.float32)
    head[0, row, 3] = value
    best = reduce_to_best_class(network, 80)

    (got,) = onnx_runner(best, called="best")(head)

    assert np.flatnonzero(~np.isfinite(got[0, 4])).tolist() == [3]


def _name_nodes(path: Path) -> None:
    """Name the nodes, as exporters do: the part that keeps its precision is chosen by name."""
    file = onnx.load(path)
    for index, node in enumerate(file.graph.node):
        node.name = f"{node.op_type}_{index}"
    onnx.save(file, path)


@pytest.mark.slow
@every_task
def test_it_goes_with_pixels_and_half_precision(task: Task, tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "raw.onnx", task)
    _name_nodes(path)
    raw = accept_pixels(to_fp16(ir.load(path)), "uint8")

    best = reduce_to_best_class(raw, len(LABELS))

    pixels = np.random.default_rng(0).integers(0, 256, (2, *IMGSZ, 3), np.uint8)
    expected = by_numpy(task, list(onnx_runner(raw, called="raw")(pixels)))
    assert_same(onnx_runner(best, called="best")(pixels), expected)


@pytest.mark.slow
@every_task
@pytest.mark.parametrize("profile", ["cpu", "gpu"])
@pytest.mark.parametrize(("network_output", "max_candidates"), [("best-class", None), ("candidates", 20)])
def test_an_export_says_so_and_passes_its_own_check(
    task: Task,
    profile: Any,
    network_output: str,
    max_candidates: int | None,
    export_tiny: Export,
    repository: Path,
) -> None:
    deployment = deployment_from(profile, network_output=network_output, max_candidates=max_candidates)
    report = export_tiny(task, deployment=deployment)

    rows, anchors = shapes(task)[0]
    expected = [rows - len(LABELS) + 2, max_candidates or anchors]
    postprocess = {tensor.name: list(tensor.dims) for tensor in report.configs["tiny_postprocess"].input}
    assert list(report.configs["tiny_network"].output[0].dims) == postprocess["output0"] == expected
    for member in ("tiny", "tiny_postprocess"):
        assert report.configs[member].parameters["network_output"].string_value == f'"{network_output}"'
    assert check(repository).findings == ()


def test_without_it_nothing_is_said(export_tiny: Export) -> None:
    report = export_tiny(deployment=Deployment(network_output="raw"))

    assert not any("network_output" in config.parameters for config in report.configs.values())


def test_a_network_of_all_classes_in_its_place_is_found(export_tiny: Export, repository: Path) -> None:
    export_tiny(deployment=BEST)
    write_onnx(repository / "tiny_network" / "1" / "model.onnx")

    problems = " ".join(finding.problem for finding in check(repository).findings)

    assert f"output output0 FLOAT [batch, {4 + len(LABELS)}, 32]: expected output0 FP32 [6, 32]" in problems


@pytest.mark.slow
def test_fewer_bytes_are_planned_for(export_tiny: Export, repository: Path) -> None:
    export_tiny(name="raw", deployment=Deployment(network_output="raw"))
    export_tiny(name="best", deployment=BEST)

    plans = {name: estimate(repository, name).members[-1].tensor_bytes for name in ("raw", "best")}

    assert plans["raw"] - plans["best"] == (len(LABELS) - 2) * shapes(Task.DETECT)[0][1] * 4


def test_half_precision_is_judged_before_the_classes_are_reduced(
    export_tiny: Export, repository: Path, tmp_path: Path
) -> None:
    evaluation = tmp_path / "images"
    evaluation.mkdir()
    for seed in range(3):
        cv2.imwrite(str(evaluation / f"{seed}.png"), corpus.picture(40 + seed, 50, seed=seed))

    weights = write_onnx(tmp_path / "named.onnx")
    _name_nodes(weights)

    report = export_tiny(
        weights=weights,
        deployment=Deployment(network_output="best-class", network_input="uint8", precision="fp16"),
        calibration_data=CalibrationData(evaluation=evaluation, min_matched=0),
    )

    assert report.network.precision == "fp16"
    assert report.network.head == ((6, shapes(Task.DETECT)[0][1]),)
    assert check(repository).findings == ()


@pytest.mark.parametrize(
    ("task", "options", "reason"),
    [
        pytest.param(Task.CLASSIFY, {}, "--network-output best-class: a classify model", id="classifier"),
        pytest.param(
            Task.DETECT, {"opset": 12}, "needs opset 13, the network has 12; export the checkpoint with", id="opset"
        ),
    ],
)
def test_what_cannot_have_it_is_refused(
    task: Task, options: dict[str, Any], reason: str, export_tiny: Export, repository: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=reason):
        export_tiny(weights=write_onnx(tmp_path / "w.onnx", task, **options), deployment=BEST)

    assert not repository.exists()


def test_its_onnx_file_is_no_source_of_another_export(export_tiny: Export, repository: Path) -> None:
    export_tiny(deployment=BEST)

    with pytest.raises(UnsupportedError, match=r"has the outputs \[7, anchors\], got \[6, 32\]"):
        export_tiny(weights=repository / "tiny_network" / "1" / "model.onnx", name="again")


@pytest.mark.slow
def test_a_version_that_would_change_it_is_refused(export_tiny: Export) -> None:
    export_tiny(deployment=Deployment(network_input="fp32", network_output="raw"))

    with pytest.raises(RepositoryError, match="configuration"):
        export_tiny(version=2, deployment=BEST)
