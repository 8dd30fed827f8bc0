# SPDX-License-Identifier: Apache-2.0
"""A model's description, its way through a configuration, and its tensors."""

from __future__ import annotations

from typing import Any

import pytest

from yolov8_contract import signature
from yolov8_contract.errors import ConfigError
from yolov8_contract.served_model import ServedModel
from yolov8_contract.task import Task

LABELS = ("person", 'a "quoted" \\ name', "Füße, 人")


def described(task: Task, **changes: Any) -> ServedModel:
    kpt_shape = (17, 3) if task is Task.POSE else None
    return ServedModel(**({"task": task, "labels": LABELS, "imgsz": (480, 640), "kpt_shape": kpt_shape} | changes))


def in_config(parameters: dict[str, str]) -> dict[str, Any]:
    return {"name": "m", "parameters": {name: {"string_value": text} for name, text in parameters.items()}}


@pytest.mark.parametrize("task", Task, ids=lambda task: task.value)
def test_a_description_survives_its_way_through_a_configuration(task: Task) -> None:
    model = described(task)

    assert ServedModel.from_config(in_config(model.to_parameters())) == model


def test_priority_levels_survive_too_and_are_left_out_without_any() -> None:
    model = described(Task.DETECT, priority_levels=3)

    assert ServedModel.from_config(in_config(model.to_parameters())) == model
    assert "priority_levels" not in described(Task.DETECT).to_parameters()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param({"task": '"track"'}, "task is 'track', expected one of", id="unknown-task"),
        pytest.param({"task": "detect"}, "parameter 'task' is not JSON", id="not-json"),
        pytest.param({"contract_version": "2"}, "contract_version is 2, this code supports 1", id="newer-contract"),
        pytest.param({"imgsz": "[640]"}, "model 'm': ", id="imgsz-of-one-number"),
        pytest.param({"labels": "[]"}, "labels: expected at least one", id="no-labels"),
        pytest.param({"priority_levels": "-1"}, "priority_levels: expected a whole number from 0", id="levels"),
        pytest.param({"priority_levels": "true"}, "priority_levels: expected a whole number from 0", id="levels-bool"),
        pytest.param({"imgsz": None}, "parameter 'imgsz' is missing", id="missing"),
    ],
)
def test_a_configuration_that_says_something_else_is_refused(change: dict[str, str | None], reason: str) -> None:
    said = described(Task.DETECT).to_parameters() | change
    config = in_config({name: text for name, text in said.items() if text is not None})

    with pytest.raises(ConfigError) as caught:
        ServedModel.from_config(config)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("task", "kpt_shape"),
    [
        pytest.param(Task.DETECT, (17, 3), id="keypoints-without-pose"),
        pytest.param(Task.POSE, None, id="pose-without-keypoints"),
        pytest.param(Task.POSE, (17, 4), id="four-values-a-keypoint"),
    ],
)
def test_keypoints_go_with_pose_alone(task: Task, kpt_shape: tuple[int, int] | None) -> None:
    with pytest.raises(ConfigError, match="kpt_shape"):
        described(task, kpt_shape=kpt_shape)


@pytest.mark.parametrize(
    ("task", "change"),
    [
        pytest.param(Task.DETECT, {"network_output": "top-k"}, id="unknown"),
        pytest.param(Task.CLASSIFY, {"network_output": "best-class"}, id="classifier"),
        pytest.param(Task.CLASSIFY, {"network_output": "candidates"}, id="candidates-of-a-classifier"),
        pytest.param(Task.POSE, {"network_output": "best-class", "labels": ("person",)}, id="one-class"),
        pytest.param(Task.DETECT, {"network_output": "best-class", "labels": ("a", "b")}, id="same-shape-as-raw"),
    ],
)
def test_an_output_that_the_network_cannot_have_is_refused(task: Task, change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="network_output"):
        described(task, **change)


@pytest.mark.parametrize("network_input", ["uint8", "fp32-nhwc"])
def test_how_members_hand_tensors_on_survives_a_configuration_and_is_silent_by_default(network_input: str) -> None:
    model = described(Task.DETECT, network_input=network_input, network_output="best-class")

    assert ServedModel.from_config(in_config(model.to_parameters())) == model
    assert not described(Task.DETECT).to_parameters().keys() & {"network_input", "network_output"}


def test_the_card_survives_a_configuration_and_older_ones_have_none() -> None:
    model = described(Task.DETECT, family="YOLO11", engine="openvino", precision="int8")

    assert ServedModel.from_config(in_config(model.to_parameters())) == model
    assert not described(Task.DETECT).to_parameters().keys() & {"family", "engine", "precision"}
    with pytest.raises(ConfigError, match="engine: expected a text, got 3"):
        ServedModel.from_config(in_config(model.to_parameters() | {"engine": "3"}))


def test_candidates_go_with_any_number_of_classes() -> None:
    model = described(Task.POSE, network_output="candidates", labels=("person",))

    assert ServedModel.from_config(in_config(model.to_parameters())) == model
    assert signature.network(model, ((57, 1000),)).outputs[0].shape == (57, 1000)


HEADS: dict[Task, signature.Head] = {
    Task.DETECT: ((7, 6300),),
    Task.SEGMENT: ((39, 6300), (32, 120, 160)),
    Task.POSE: ((58, 6300),),
    Task.OBB: ((8, 6300),),
    Task.CLASSIFY: ((3,),),
}


@pytest.mark.parametrize("task", [Task.DETECT, Task.SEGMENT, Task.POSE, Task.OBB], ids=lambda task: task.value)
def test_a_head_of_the_best_class_has_two_rows_for_all_scores(task: Task) -> None:
    (rows, anchors), *masks = HEADS[task]
    head = ((rows - len(LABELS) + 2, anchors), *masks)
    model = described(task, network_output="best-class")

    assert [spec.shape for spec in signature.network(model, head).outputs] == list(head)
    with pytest.raises(ConfigError, match="of 3 classes with best-class output has the outputs"):
        signature.postprocess(model, ((head[0][0] + 1, 6300), *head[1:]))
    with pytest.raises(ConfigError, match="of 3 classes with raw output has the outputs"):
        signature.postprocess(described(task), head)


@pytest.mark.parametrize("task", Task, ids=lambda task: task.value)
def test_a_head_that_fits_its_task_passes_and_one_row_more_does_not(task: Task) -> None:
    model, head = described(task), HEADS[task]
    wrong = ((head[0][0] + 1, *head[0][1:]), *head[1:])

    assert [spec.shape for spec in signature.network(model, head).outputs] == list(head)
    with pytest.raises(ConfigError, match=rf"a {task.value} network of 3 classes with raw output has the outputs"):
        signature.network(model, wrong)


def test_a_segment_head_without_prototypes_is_refused() -> None:
    with pytest.raises(ConfigError, match="masks, height, width"):
        signature.network(described(Task.SEGMENT), ((39, 6300),))


def config_of(tensors: signature.Signature) -> dict[str, Any]:
    def listed(specs: Any) -> list[dict[str, Any]]:
        return [{"name": s.name, "data_type": s.dtype.config_name, "dims": [str(d) for d in s.shape]} for s in specs]

    return {"name": "m", "input": listed(tensors.inputs), "output": listed(tensors.outputs)}


@pytest.mark.parametrize("task", Task, ids=lambda task: task.value)
def test_a_config_that_says_the_same_passes(task: Task) -> None:
    tensors = signature.ensemble(described(task))

    tensors.check_config(config_of(tensors))


@pytest.mark.parametrize(
    ("side", "change"),
    [
        pytest.param("input", {"name": "images"}, id="name"),
        pytest.param("input", {"data_type": "TYPE_STRING"}, id="type"),
        pytest.param("output", {"dims": ["2"]}, id="shape"),
    ],
)
def test_a_config_that_differs_in_one_tensor_is_refused(side: str, change: dict[str, Any]) -> None:
    tensors = signature.ensemble(described(Task.DETECT))
    config = config_of(tensors)
    config[side][0] |= change

    with pytest.raises(ConfigError, match=rf"model 'm', {side}s: expected .* got "):
        tensors.check_config(config)
