# SPDX-License-Identifier: Apache-2.0
"""``candidates`` networks give the same to the bit as numpy selects from all anchors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import heads
from tests.unit.export.conftest import Export
from tests.unit.export.graph.test_best_class import TASKS, images, model, passes_on
from tests.unit.export.tiny_networks import IMGSZ, LABELS, metadata, shapes, write_onnx
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task
from yolov8_export.config.deployment import Deployment
from yolov8_export.errors import OptionError, RepositoryError, UnsupportedError
from yolov8_export.estimates import estimate
from yolov8_export.graph.rewrite import keep_candidates, reduce_to_best_class
from yolov8_export.precision.quantize import to_fp16
from yolov8_export.runtime import onnx_runner

COUNT = 20
FEW = Deployment(network_output="candidates", max_candidates=COUNT)

every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.value)


def reduced(raw: ir.Model, classes: int = len(LABELS)) -> ir.Model:
    return keep_candidates(reduce_to_best_class(raw, classes), COUNT)


@pytest.mark.slow
@every_task
@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("opset", [13, 18, 21])
def test_a_network_puts_out_what_numpy_selects(task: Task, opset: int, half: bool, tmp_path: Path) -> None:
    raw = ir.load(write_onnx(tmp_path / "raw.onnx", task, opset=opset))
    raw = to_fp16(raw) if half else raw

    got = onnx_runner(reduced(raw), called="candidates")(images(3))

    assert got[0].shape == (3, shapes(task)[0][0] - len(LABELS) + 2, COUNT)
    for index, head in enumerate(zip(*onnx_runner(raw, called="raw")(images(3)), strict=True)):
        for actual, expected in zip(got, heads.candidates(model(task), head, COUNT), strict=True):
            np.testing.assert_array_equal(actual[index], expected, strict=True)


CLASSES, ANCHORS = 3, 60
RUN = onnx_runner(reduced(passes_on(CLASSES, 0, ANCHORS), CLASSES), called="candidates")


@pytest.mark.slow
@given(
    seed=st.integers(0, 1000),
    decimals=st.integers(0, 7),
    spoiled=st.lists(
        st.tuples(
            st.integers(0, 3 + CLASSES),
            st.integers(0, ANCHORS - 1),
            st.sampled_from([np.nan, np.inf, -np.inf, -1.0, -0.0, 1e-45]),
        ),
        max_size=ANCHORS,
    ),
)
@settings(max_examples=300)
def test_ties_and_values_that_are_no_numbers_hide_no_anchor(
    seed: int, decimals: int, spoiled: list[tuple[int, int, float]]
) -> None:
    head = np.round(np.random.default_rng(seed).random((1, 4 + CLASSES, ANCHORS), np.float32) ** 4, decimals)
    for row, anchor, value in spoiled:
        head[0, row, anchor] = value
    served = ServedModel(task=Task.DETECT, labels=tuple("abc"), imgsz=IMGSZ)

    (got,) = RUN(head)

    (expected,) = heads.candidates(served, [_without_infinite_scores(head[0])], COUNT)
    np.testing.assert_array_equal(got[0], expected)


def _without_infinite_scores(head: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the head with NaN in the place of scores that are infinite, as a ``best-class`` network has it."""
    scores = head[4:]
    scores[:, ~np.isfinite(scores).all(axis=0)] = np.nan
    return head


@pytest.mark.parametrize("classes", [1, 2, 80])
def test_any_number_of_classes_can_have_it(classes: int) -> None:
    head = np.random.default_rng(0).random((2, 4 + classes + 51, 300), np.float32)
    served = ServedModel(task=Task.DETECT, labels=tuple(map(str, range(classes))), imgsz=IMGSZ)

    (got,) = onnx_runner(reduced(passes_on(classes, 51, 300), classes), called="candidates")(head)

    for index, image in enumerate(head):
        np.testing.assert_array_equal(got[index], heads.candidates(served, [image], COUNT)[0], strict=True)


@pytest.mark.slow
def test_fewer_bytes_are_planned_for(export_tiny: Export, repository: Path) -> None:
    export_tiny(name="raw", deployment=Deployment(network_output="raw"))
    export_tiny(name="few", deployment=FEW)

    plans = {name: estimate(repository, name).members[-1].tensor_bytes for name in ("raw", "few")}

    rows, anchors = shapes(Task.DETECT)[0]
    assert plans["raw"] - plans["few"] == (rows * anchors - 6 * COUNT) * 4


@pytest.mark.parametrize(
    ("task", "options", "deployment", "reason"),
    [
        pytest.param(Task.CLASSIFY, {}, FEW, "--network-output candidates: a classify model", id="classifier"),
        pytest.param(Task.DETECT, {"opset": 12}, FEW, "candidates: needs opset 13, the network has 12", id="opset"),
        pytest.param(
            Task.DETECT,
            {},
            Deployment(network_output="candidates"),
            "--max-candidates 1000: the network has only 32 anchors; choose fewer",
            id="too-few-anchors",
        ),
    ],
)
def test_what_cannot_have_it_is_refused(
    task: Task,
    options: dict[str, Any],
    deployment: Deployment,
    reason: str,
    export_tiny: Export,
    repository: Path,
    tmp_path: Path,
) -> None:
    with pytest.raises(OptionError, match=reason):
        export_tiny(weights=write_onnx(tmp_path / "w.onnx", task, **options), deployment=deployment)

    assert not repository.exists()


@pytest.mark.slow
@pytest.mark.parametrize("classes", [1, 2, 5])
def test_its_onnx_file_is_no_source_of_another_export(
    classes: int, export_tiny: Export, repository: Path, tmp_path: Path
) -> None:
    """With two classes, its output has as many rows as one of all classes."""
    props = metadata(Task.DETECT, names={index: str(index) for index in range(classes)})
    export_tiny(weights=write_onnx(tmp_path / "w.onnx", classes=classes, props=props), deployment=FEW)

    with pytest.raises(UnsupportedError, match="was reduced to the best anchors"):
        export_tiny(weights=repository / "tiny_network" / "1" / "model.onnx", name="again")


@pytest.mark.slow
def test_a_version_with_another_number_of_candidates_is_refused(export_tiny: Export) -> None:
    export_tiny(deployment=FEW)

    export_tiny(version=2, deployment=FEW)
    with pytest.raises(RepositoryError, match="configuration"):
        export_tiny(version=3, deployment=Deployment(network_output="candidates", max_candidates=COUNT + 1))


@pytest.mark.slow
def test_a_default_threshold_that_lets_in_too_many_is_said(export_tiny: Export) -> None:
    low = Deployment(network_output="candidates", max_candidates=COUNT, defaults=RequestParameters(conf=0.001))

    assert any("conf 0.001 lets in more than 20 anchors" in note for note in export_tiny(deployment=low).notes)
    assert not any("lets in" in note for note in export_tiny(deployment=FEW, name="other").notes)
