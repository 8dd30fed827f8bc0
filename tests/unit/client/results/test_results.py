# SPDX-License-Identifier: Apache-2.0
"""What results are made of, and what can be done with them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import supervision as sv
from faster_coco_eval.core import mask as coco_mask

from tests.fakes import answers
from yolov8_contract.task import Task
from yolov8_triton import (
    COCO_CATEGORY_IDS,
    ClassProbabilities,
    ContractMismatchError,
    Detections,
    OrientedBoxes,
    Poses,
    Segmentations,
)

COMMON = {"labels": answers.LABELS, "orig_shape": (answers.HEIGHT, answers.WIDTH)}


def rows(task: Task, count: int) -> dict[str, Any]:
    sent = answers.arrays(task, count)
    return {"confidence": sent["detection_scores"][0], "class_id": sent["detection_classes"][0], **COMMON}


def detections(count: int = 6) -> Detections:
    return Detections(xyxy=answers.arrays(Task.DETECT, count)["detection_boxes"][0], **rows(Task.DETECT, count))


def segmentations(count: int = 6) -> Segmentations:
    sent = answers.arrays(Task.SEGMENT, count)
    return Segmentations(xyxy=sent["detection_boxes"][0], rle=sent["detection_masks"][0], **rows(Task.SEGMENT, count))


def poses(count: int = 6) -> Poses:
    sent = answers.arrays(Task.POSE, count)
    return Poses(xyxy=sent["detection_boxes"][0], keypoints=sent["detection_keypoints"][0], **rows(Task.POSE, count))


def oriented_boxes(count: int = 6) -> OrientedBoxes:
    return OrientedBoxes(xywhr=answers.arrays(Task.OBB, count)["detection_boxes"][0], **rows(Task.OBB, count))


def probabilities() -> ClassProbabilities:
    return ClassProbabilities(scores=answers.arrays(Task.CLASSIFY)["class_scores"][0], **COMMON)


FINDS = [
    pytest.param(detections, id="detections"),
    pytest.param(segmentations, id="segmentations"),
    pytest.param(poses, id="poses"),
    pytest.param(oriented_boxes, id="oriented-boxes"),
]


@pytest.mark.parametrize("make", FINDS)
@pytest.mark.parametrize(
    ("index", "chosen"),
    [
        pytest.param(2, [2], id="number"),
        pytest.param(-1, [5], id="number-from-the-end"),
        pytest.param(np.int64(3), [3], id="number-of-numpy"),
        pytest.param(slice(1, 3), [1, 2], id="slice"),
        pytest.param(slice(None, None, -1), [5, 4, 3, 2, 1, 0], id="reversed"),
        pytest.param(np.array([4, 0]), [4, 0], id="numbers"),
        pytest.param([4, 0], [4, 0], id="list-of-numbers"),
        pytest.param([], [], id="empty-list"),
        pytest.param(np.array([True, False, False, True, False, False]), [0, 3], id="mask"),
        pytest.param([False] * 5 + [True], [5], id="list-of-truths"),
    ],
)
def test_an_index_selects_objects_in_all_arrays_alike(make: Any, index: Any, chosen: list[int]) -> None:
    found = make()

    some = found[index]

    assert type(some) is type(found)
    for field in dataclasses.fields(found):
        whole = getattr(found, field.name)
        expected = whole[chosen] if isinstance(whole, np.ndarray) else whole
        np.testing.assert_array_equal(getattr(some, field.name), expected)


@pytest.mark.parametrize("make", FINDS)
def test_iteration_gives_results_of_one_object_each(make: Any) -> None:
    found = make(3)

    ones = list(found)

    assert [type(one) for one in ones] == [type(found)] * 3
    assert [one.confidence.tolist() for one in ones] == found.confidence[:, np.newaxis].tolist()


def test_an_index_beyond_the_objects_is_an_error() -> None:
    with pytest.raises(IndexError):
        detections(2)[2]


@pytest.mark.parametrize("kind", [Detections, Segmentations, Poses, OrientedBoxes])
def test_an_empty_result_has_no_objects(kind: Any) -> None:
    found = kind.empty(**COMMON)

    assert len(found) == 0
    assert not found.class_name.size
    assert found.xyxy.shape == (0, 4)
    assert found.summary() == "nothing"
    assert found.to_dict() == {"task": kind.task.value, "orig_shape": [60, 100], "objects": []}
    assert found.to_coco(1) == []
    assert len(found.to_supervision()) == 0


def test_results_can_not_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        detections().xyxy = np.zeros((6, 4), np.float32)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "change", "message"),
    [
        pytest.param(detections, {"xyxy": np.zeros((6, 5))}, r"xyxy: expected shape \(6, 4\)", id="boxes"),
        pytest.param(detections, {"class_id": np.zeros(5)}, r"class_id: expected shape \(6,\)", id="rows"),
        pytest.param(detections, {"confidence": np.zeros((6, 1))}, r"confidence: expected shape \(6,\)", id="axes"),
        pytest.param(poses, {"keypoints": np.zeros((6, 17))}, r"expected shape \(6, -1, -1\)", id="keypoints"),
        pytest.param(segmentations, {"rle": np.empty(1, object)}, r"rle: expected shape \(6,\)", id="masks"),
        pytest.param(oriented_boxes, {"xywhr": np.zeros((6, 4))}, r"xywhr: expected shape \(6, 5\)", id="rotated"),
        pytest.param(probabilities, {"scores": np.zeros(4)}, r"scores: expected shape \(3,\)", id="scores"),
    ],
)
def test_arrays_that_do_not_go_together_are_refused(make: Any, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(make(), **change)


def test_objects_know_the_names_of_their_classes() -> None:
    assert detections(4).class_name.tolist() == ["person", "bus", "stop sign", "person"]


def test_a_mask_over_names_filters() -> None:
    found = detections(4)

    assert found[found.class_name == "person"].class_id.tolist() == [0, 0]


def test_only_keeps_the_named_classes() -> None:
    assert detections(4).only("bus", "stop sign").class_id.tolist() == [1, 2]


def test_only_refuses_a_name_that_the_model_has_not() -> None:
    with pytest.raises(ValueError, match="no class 'persons'; did you mean 'person'"):
        detections().only("persons")


def test_a_result_is_shown_by_what_was_found() -> None:
    assert repr(detections(4)) == "<Detections: 2 person, 1 bus, 1 stop sign>"
    assert repr(probabilities()) == "<ClassProbabilities: bus 0.70, person 0.20, stop sign 0.10>"


def test_masks_are_decoded_at_the_image_s_resolution() -> None:
    found = segmentations(2)

    assert found.mask.shape == (2, answers.HEIGHT, answers.WIDTH)
    for number, mask in enumerate(found.mask):
        expected = np.zeros((answers.HEIGHT, answers.WIDTH), bool)
        expected[: answers.HEIGHT // 2, number] = True
        np.testing.assert_array_equal(mask, expected)


def test_masks_of_another_image_are_refused() -> None:
    found = dataclasses.replace(segmentations(), orig_shape=(10, 10))

    with pytest.raises(ContractMismatchError, match="10 x 10 = 100 pixels, got 6000"):
        _ = found.mask


def test_corners_of_a_rotated_box_go_around_it_in_ultralytics_order() -> None:
    # A box of 20 x 10 at (30, 20), turned by a quarter: as wide as it was high.
    found = oriented_boxes(1)

    np.testing.assert_allclose(found.xyxyxyxy[0], [[25, 30], [35, 30], [35, 10], [25, 10]], atol=1e-5)
    np.testing.assert_allclose(found.xyxy[0], [25, 10, 35, 30], atol=1e-5)


def test_keypoints_without_visibility_count_as_seen() -> None:
    found = dataclasses.replace(poses(2), keypoints=np.ones((2, 4, 2), np.float32))

    assert found.visibility.tolist() == [[1, 1, 1, 1]] * 2


def test_the_likeliest_classes_come_best_first() -> None:
    result = probabilities()

    assert [one.class_name for one in result.top(2)] == ["bus", "person"]
    assert result.top1 == 1
    assert result.top1_name == result.labels[1]
    assert result.top1_confidence == pytest.approx(0.7)
    assert len(result.top()) == len(result) == 3


def test_equally_likely_classes_come_in_the_order_of_their_ids() -> None:
    result = dataclasses.replace(probabilities(), scores=np.array([0.2, 0.4, 0.4], np.float32))

    assert [one.class_id for one in result.top()] == [1, 2, 0]


@pytest.mark.parametrize("make", [*FINDS, pytest.param(probabilities, id="probabilities")])
def test_plain_values_survive_json(make: Any) -> None:
    values = make().to_dict()

    assert json.loads(json.dumps(values)) == values


def test_plain_values_are_the_shortest_that_name_the_same_number() -> None:
    assert detections(1).to_dict() == {
        "task": "detect",
        "orig_shape": [60, 100],
        "objects": [{"class_id": 0, "class_name": "person", "confidence": 0.9, "xyxy": [5.0, 10.0, 25.0, 40.0]}],
    }


def test_plain_values_of_probabilities_are_the_best_classes() -> None:
    assert probabilities().to_dict()["top"][0] == {"class_id": 1, "class_name": "bus", "confidence": 0.7}


def test_coco_results_have_boxes_as_corner_and_size() -> None:
    first = detections(2).to_coco(42)[0]

    assert first == {"image_id": 42, "category_id": 0, "bbox": [5.0, 10.0, 20.0, 30.0], "score": 0.9}


def test_coco_results_have_the_annotations_categories() -> None:
    assert [one["category_id"] for one in detections(3).to_coco(1, category_ids=COCO_CATEGORY_IDS)] == [1, 2, 3]


def test_coco_categories_are_those_of_its_eighty_classes() -> None:
    assert len(COCO_CATEGORY_IDS) == 80
    assert (COCO_CATEGORY_IDS[0], COCO_CATEGORY_IDS[11], COCO_CATEGORY_IDS[79]) == (1, 13, 90)


def test_coco_results_have_masks_that_coco_s_own_code_decodes() -> None:
    found = segmentations(2)

    decoded = [coco_mask.decode(one["segmentation"]) for one in found.to_coco(1)]

    np.testing.assert_array_equal(np.stack(decoded).astype(bool), found.mask)


def test_coco_results_have_keypoints_in_one_row() -> None:
    keypoints = poses(1).to_coco(1)[0]["keypoints"]

    assert keypoints[:6] == [30.0, 10.0, 0.9, 30.0, 11.0, 0.9]
    assert len(keypoints) == 17 * 3


def test_coco_results_have_rotated_boxes_as_polygons() -> None:
    one = oriented_boxes(1).to_coco(1)[0]

    np.testing.assert_allclose(one["segmentation"], [[25, 30, 35, 30, 35, 10, 25, 10]], atol=1e-5)
    np.testing.assert_allclose(one["bbox"], [25, 10, 10, 20], atol=1e-5)


def test_supervision_gets_boxes_and_names() -> None:
    found = detections(3)

    objects = found.to_supervision()

    np.testing.assert_array_equal(objects.xyxy, found.xyxy)
    np.testing.assert_array_equal(objects.confidence, found.confidence)
    np.testing.assert_array_equal(objects.class_id, found.class_id)
    assert objects.data["class_name"].tolist() == ["person", "bus", "stop sign"]


def test_supervision_gets_masks() -> None:
    found = segmentations(2)

    np.testing.assert_array_equal(found.to_supervision().mask, found.mask)


def test_supervision_gets_poses_with_what_is_seen() -> None:
    key_points = poses(2).to_supervision()

    assert isinstance(key_points, sv.KeyPoints)
    assert key_points.xy.shape == (2, 17, 2)
    assert key_points.visible is not None
    assert key_points.visible.sum(axis=1).tolist() == [16, 16]


def test_supervision_gets_corners_of_rotated_boxes() -> None:
    found = oriented_boxes(2)

    np.testing.assert_array_equal(found.to_supervision().data["xyxyxyxy"], found.xyxyxyxy)


def test_supervision_gets_probabilities() -> None:
    classes = probabilities().to_supervision()

    assert classes.get_top_k(1)[0].tolist() == [1]
