# SPDX-License-Identifier: Apache-2.0
"""Raw outputs to detections, as Ultralytics makes them."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import heads
from tests.unit.contract import ultralytics_answers
from yolov8_contract import rle, signature
from yolov8_contract.errors import ConfigError, InvalidParameterError, Refusal
from yolov8_contract.parameters import RequestParameters
from yolov8_contract.postprocess import postprocess
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task

Arrays = dict[str, npt.NDArray[Any]]

TASKS = [Task.DETECT, Task.SEGMENT, Task.POSE, Task.OBB]
DEFAULTS = RequestParameters()

every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.value)


def assert_same(found: Arrays, reference: Arrays, orig_shape: tuple[int, int]) -> None:
    """Compare number by number and in order; of a mask one pixel may fall on the other side of zero."""
    assert found["num_detections"].tolist() == [len(reference["detection_scores"])]
    for name in reference.keys() & found.keys():
        np.testing.assert_array_equal(found[name], reference[name], err_msg=name)
    for text, mask in zip(found.get("detection_masks", ()), reference.get("masks", ()), strict=True):
        assert np.count_nonzero(rle.decode(text, orig_shape) != mask) <= 1


@every_task
@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param(DEFAULTS, id="defaults"),
        pytest.param(RequestParameters(conf=0.001, iou=0.6), id="evaluation"),
        pytest.param(RequestParameters(conf=0.0, iou=0.5, max_det=1000), id="every-anchor"),
        pytest.param(RequestParameters(max_det=5), id="max_det"),
        pytest.param(RequestParameters(classes=(1, 3)), id="classes"),
        pytest.param(RequestParameters(agnostic=True, iou=0.3), id="agnostic"),
        pytest.param(RequestParameters(iou=1.0), id="nothing-suppressed"),
        pytest.param(RequestParameters(conf=1.0), id="nothing-found"),
    ],
)
def test_it_answers_as_ultralytics(task: Task, parameters: RequestParameters) -> None:
    model = heads.served(task)
    head = heads.outputs(model, seed=1, objects=25)

    found = postprocess(model, head, (167, 250), parameters)

    assert_same(found, ultralytics_answers.answer(model, head, (167, 250), parameters), (167, 250))


@cache
def both_kinds(task: Task, seed: int) -> tuple[tuple[ServedModel, list[Any]], tuple[ServedModel, list[Any]]]:
    """Return a network's description and outputs: with all classes, and with the best class alone."""
    model = heads.served(task, imgsz=(96, 128))
    head = heads.outputs(model, seed=seed, objects=12)
    head[0][4:9] = np.round(head[0][4:9], 2)  # classes of one anchor have equal scores, and so have anchors
    head[0][[0, 7, 5], [3, 4, 5]] = np.nan, np.nan, np.inf
    return (model, head), (replace(model, network_output="best-class"), heads.best_class(model, head))


PARAMETERS = st.builds(
    RequestParameters,
    conf=st.sampled_from((0.0, 0.001, 0.01, 0.05, 0.25, 0.5, 0.9)) | st.floats(0, 1),
    iou=st.sampled_from((0.3, 0.7, 1.0)),
    max_det=st.sampled_from((1, 5, 300, 1000)),
    classes=st.sampled_from((None, (1, 3))),
    agnostic=st.booleans(),
)


@pytest.mark.slow
@every_task
@given(
    seed=st.integers(0, 3),
    parameters=PARAMETERS,
)
@settings(max_examples=60)
def test_a_network_that_puts_out_the_best_class_alone_changes_no_bit(
    task: Task, seed: int, parameters: RequestParameters
) -> None:
    whole, reduced = both_kinds(task, seed)

    found, expected = (postprocess(model, head, (167, 250), parameters) for model, head in (reduced, whole))

    assert [(name, values.dtype) for name, values in found.items()] == [
        (name, values.dtype) for name, values in expected.items()
    ]
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


@pytest.mark.slow
@every_task
@given(
    seed=st.integers(0, 3),
    count=st.sampled_from((2, 30, 100, 200)),
    parameters=PARAMETERS,
)
@settings(max_examples=150)
def test_a_network_that_puts_out_candidates_alone_changes_no_bit_or_refuses(
    task: Task, seed: int, count: int, parameters: RequestParameters
) -> None:
    (model, head), (reduced, _) = both_kinds(task, seed)
    reduced, kept = replace(reduced, network_output="candidates"), heads.candidates(model, head, count)
    scores = head[0][4:9].max(axis=0)

    try:
        found = postprocess(reduced, kept, (167, 250), parameters)
    except InvalidParameterError as exc:
        assert np.count_nonzero(scores > np.float32(parameters.conf)) >= count
        (enough,) = re.findall(r"ask with a 'conf' of at least (\S+),", str(exc))
        parameters = replace(parameters, conf=float(enough))
        found = postprocess(reduced, kept, (167, 250), parameters)

    expected = postprocess(model, head, (167, 250), parameters)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name, strict=True)


def test_too_many_candidates_are_refused_with_what_would_be_answered() -> None:
    model = replace(heads.served(Task.DETECT, classes=1), network_output="candidates")
    scores = np.linspace(0.9, 0.31234, 50, dtype=np.float32)
    head = np.concatenate([np.full((4, 50), 9, np.float32), scores[None], np.zeros((1, 50), np.float32)])

    with pytest.raises(InvalidParameterError) as caught:
        postprocess(model, [head], (160, 160), RequestParameters(conf=0.1))

    assert caught.value.refusal is Refusal.CANDIDATES
    assert str(caught.value) == (
        "invalid parameter: 'conf' 0.1 lets in 50 or more anchors, and this deployment's network outputs only the "
        "best 50: ask with a 'conf' of at least 0.3124, or export the model with a larger --max-candidates, or with "
        "--network-output best-class or raw, which have no such limit"
    )


def test_no_threshold_is_named_where_none_would_do() -> None:
    model = replace(heads.served(Task.DETECT, classes=1), network_output="candidates")

    with pytest.raises(InvalidParameterError, match="the best 3: export the model with"):
        postprocess(model, [np.full((6, 3), 1.5, np.float32)], (160, 160), RequestParameters(conf=1.0))


SIZES = [(1, 1), (1, 5000), (5000, 1), (100, 37), (640, 640), (1079, 809), (1571, 3775)]


@pytest.mark.slow
@every_task
@pytest.mark.parametrize("orig_shape", SIZES, ids=lambda shape: f"image-{shape[0]}x{shape[1]}")
def test_it_answers_as_ultralytics_at_every_size(task: Task, orig_shape: tuple[int, int]) -> None:
    model = heads.served(task)
    head = heads.outputs(model, seed=2, objects=8)

    found = postprocess(model, head, orig_shape, DEFAULTS)

    assert_same(found, ultralytics_answers.answer(model, head, orig_shape, DEFAULTS), orig_shape)


@pytest.mark.slow
@every_task
@pytest.mark.parametrize(
    ("imgsz", "strides"),
    [
        pytest.param((192, 320), heads.STRIDES, id="rectangular"),
        pytest.param((128, 128), (4, 8, 16, 32), id="p2"),
        pytest.param((192, 192), (8, 16, 32, 64), id="p6"),
        pytest.param((640, 640), heads.STRIDES, id="640"),
    ],
)
def test_it_takes_networks_of_other_sizes(task: Task, imgsz: tuple[int, int], strides: tuple[int, ...]) -> None:
    model = heads.served(task, imgsz=imgsz, classes=80)
    head = heads.outputs(model, seed=3, strides=strides)

    found = postprocess(model, head, (480, 640), DEFAULTS)

    assert_same(found, ultralytics_answers.answer(model, head, (480, 640), DEFAULTS), (480, 640))


@every_task
def test_it_takes_networks_of_one_class(task: Task) -> None:
    model = heads.served(task, classes=1)
    head = heads.outputs(model, seed=4)

    found = postprocess(model, head, (480, 640), DEFAULTS)

    assert_same(found, ultralytics_answers.answer(model, head, (480, 640), DEFAULTS), (480, 640))


@pytest.mark.parametrize("kpt_shape", [(17, 2), (5, 3), (1, 2)], ids=str)
def test_it_takes_keypoints_of_other_shapes(kpt_shape: tuple[int, int]) -> None:
    model = heads.served(Task.POSE, kpt_shape=kpt_shape)
    head = heads.outputs(model, seed=5)

    found = postprocess(model, head, (480, 640), DEFAULTS)

    assert found["detection_keypoints"].shape[1:] == kpt_shape
    assert_same(found, ultralytics_answers.answer(model, head, (480, 640), DEFAULTS), (480, 640))


def signature_model(task: Task) -> tuple[ServedModel, list[npt.NDArray[np.float32]]]:
    model = heads.served(task)
    return model, heads.outputs(model, objects=30)


@every_task
@pytest.mark.parametrize("conf", [0.25, 1.0], ids=["some", "none"])
def test_the_tensors_are_those_of_the_contract(task: Task, conf: float) -> None:
    model, head = signature_model(task)

    found = postprocess(model, head, (90, 160), replace(DEFAULTS, conf=conf))

    specs = signature.detections(model)
    assert list(found) == [spec.name for spec in specs]
    assert [spec.name for spec in specs if not spec.accepts(found[spec.name])] == []
    assert {len(found[spec.name]) for spec in specs[1:]} == {found["num_detections"][0]}
    assert (found["num_detections"][0] == 0) == (conf == 1.0)


@every_task
def test_scores_fall_from_the_first_object_to_the_last(task: Task) -> None:
    model, head = signature_model(task)

    scores = postprocess(model, head, (90, 160), DEFAULTS)["detection_scores"]

    assert len(scores) > 5
    assert (np.diff(scores) <= 0).all()


@every_task
def test_outputs_that_may_not_be_written_are_left_alone(task: Task) -> None:
    model, head = signature_model(task)
    for output in head:
        output.flags.writeable = False

    assert postprocess(model, head, (90, 160), DEFAULTS)["num_detections"][0] > 5


@every_task
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_an_anchor_that_is_not_finite_counts_as_empty(task: Task, value: float) -> None:
    model, head = signature_model(task)
    spoiled, emptied = head[0].copy(), head[0].copy()
    for row in range(len(spoiled)):  # each row in some anchor that would count, and in one that would not
        for anchor in (row % 7, int(np.argsort(-head[0][4:9].max(axis=0))[row % 7])):
            spoiled[row, anchor] = value
            emptied[:, anchor] = 0

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = postprocess(model, [spoiled, *head[1:]], (90, 160), DEFAULTS)

    expected = postprocess(model, [emptied, *head[1:]], (90, 160), DEFAULTS)
    assert [found[name].tolist() for name in found] == [expected[name].tolist() for name in expected]


@pytest.mark.parametrize("value", [np.nan, np.inf], ids=str)
def test_prototypes_that_are_not_finite_leave_boxes_alone(value: float) -> None:
    model, head = signature_model(Task.SEGMENT)
    box = postprocess(model, head, (160, 160), DEFAULTS)["detection_boxes"][0]
    x, y = ((box[:2] + box[2:]) / 2 / 4).astype(int)
    head[1][:, y, x] = value

    found = postprocess(model, head, (160, 160), DEFAULTS)

    assert np.isfinite(found["detection_boxes"]).all()
    assert {rle.decode(text, (160, 160)).shape for text in found["detection_masks"]} == {(160, 160)}


def test_an_object_without_a_mask_is_missing_from_all_tensors() -> None:
    model, head = signature_model(Task.SEGMENT)
    before = postprocess(model, head, (160, 160), DEFAULTS)
    gone = before["detection_scores"][1]
    head[0][9:, head[0][4:9].max(axis=0) == gone] = 0  # no coefficient, no mask

    after = postprocess(model, head, (160, 160), DEFAULTS)

    assert after["detection_scores"].tolist() == [s for s in before["detection_scores"].tolist() if s != gone]
    assert_same(after, ultralytics_answers.answer(model, head, (160, 160), DEFAULTS), (160, 160))


def test_a_classifier_has_nothing_to_process() -> None:
    model = heads.served(Task.CLASSIFY)

    with pytest.raises(ConfigError, match="classify"):
        postprocess(model, [np.ones(5, np.float32)], (90, 160), DEFAULTS)
