# SPDX-License-Identifier: Apache-2.0
"""What a comparison of two models counts, and when it has a verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from tests.fakes import answers
from tests.unit.client.results.test_results import detections, oriented_boxes, poses, probabilities, segmentations
from yolov8_contract.task import Task
from yolov8_triton import CanaryLimits, Detections, Result
from yolov8_triton._canary.comparison import Comparison
from yolov8_triton._canary.matching import ImageChange, compare

TASKS = [
    pytest.param(detections, id="detect"),
    pytest.param(segmentations, id="segment"),
    pytest.param(poses, id="pose"),
    pytest.param(oriented_boxes, id="obb"),
    pytest.param(probabilities, id="classify"),
]
MANY = 10_000


def boxes(*corners: tuple[float, float, float, float], classes: list[int], scores: list[float]) -> Detections:
    return Detections(
        xyxy=np.array(corners, np.float32).reshape(-1, 4),
        class_id=np.array(classes, np.int32),
        confidence=np.array(scores, np.float32),
        labels=answers.LABELS,
        orig_shape=(100, 100),
    )


def comparison(task: Task = Task.DETECT, **limits: float) -> Comparison:
    return Comparison(task=task, labels=answers.LABELS, limits=CanaryLimits(**limits))


@pytest.mark.parametrize("make", TASKS)
def test_a_result_has_no_differences_from_itself(make: Callable[[], Result]) -> None:
    change = compare(make(), make())

    assert len(change.matched) >= 1
    assert change.changed() == 0
    assert np.abs(change.score_shift).max() == 0
    assert change.overlap == pytest.approx(1, abs=1e-3)


def test_objects_pair_within_their_class_by_the_greatest_overlap() -> None:
    old = boxes((0, 0, 10, 10), (0, 0, 10, 8), (50, 50, 60, 60), classes=[0, 0, 1], scores=[0.9, 0.8, 0.7])
    new = boxes((0, 0, 10, 8), (50, 50, 60, 60), (50, 50, 60, 60), classes=[0, 1, 2], scores=[0.75, 0.5, 0.6])

    change = compare(old, new)

    assert change.matched.tolist() == [0, 1]
    assert change.score_shift == pytest.approx([-0.05, -0.2])
    assert change.overlap == pytest.approx([1, 1])
    assert (change.lost.tolist(), change.new.tolist()) == ([0], [2])
    assert change.changed() == pytest.approx(2 / 6)
    assert [change.changed(number) for number in change.classes()] == pytest.approx([1 / 3, 0, 1])


def test_an_image_without_objects_has_no_differences() -> None:
    nothing = boxes(classes=[], scores=[])

    assert compare(nothing, nothing).changed() == 0
    assert compare(nothing, detections_moved(0)).changed() == 1


def detections_moved(pixels: float) -> Detections:
    return boxes((10 + pixels, 10, 30 + pixels, 30), classes=[0], scores=[0.9])


@pytest.mark.parametrize(("pixels", "matched", "overlap"), [(5, 1, 0.6), (7, 0, None)])
def test_boxes_pair_from_a_half_of_overlap_on(pixels: float, matched: int, overlap: float | None) -> None:
    change = compare(detections_moved(0), detections_moved(pixels))

    assert len(change.matched) == matched
    assert change.overlap.tolist() == pytest.approx([] if overlap is None else [overlap])


def test_masks_overlap_as_masks_and_keypoints_as_keypoints() -> None:
    one, other = segmentations(2), segmentations(2)
    swapped = replace(other, rle=other.rle[::-1])
    pose = poses(2)
    far = pose.keypoints.copy()
    far[..., 0] += 1000

    assert compare(one, swapped).overlap == pytest.approx([0, 0])
    assert compare(pose, replace(pose, keypoints=far)).overlap == pytest.approx([0, 0], abs=1e-6)


def test_a_classifier_changes_with_its_best_class() -> None:
    old = probabilities()
    new = replace(old, scores=np.array([0.8, 0.1, 0.1], np.float32))
    surer = replace(old, scores=np.array([0.1, 0.8, 0.1], np.float32))

    assert (compare(old, new).lost.tolist(), compare(old, new).new.tolist()) == ([1], [0])
    assert compare(old, surer).score_shift == pytest.approx([0.1])


def test_results_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="results of one task for one image"):
        compare(detections(), poses())
    with pytest.raises(ValueError, match="the same class names"):
        compare(detections(), replace(detections(), labels=("cat", "dog", "cow")))


@pytest.mark.parametrize("limit", [0, 1, -0.5, float("nan")])
def test_a_limit_that_can_not_hold_is_refused(limit: float) -> None:
    with pytest.raises(ValueError, match="overlap: expected a limit between 0 and"):
        CanaryLimits(overlap=limit)


def changes(rng: np.random.Generator, count: int, *, changed: float, shift: float, lost: float) -> list[ImageChange]:
    """Return images of eight objects of class 0 and 1, of which a share lacks a partner."""
    found = []
    for _ in range(count):
        alone = int(rng.binomial(16, changed))
        lonely: npt.NDArray[np.int32] = rng.integers(0, 2, alone).astype(np.int32)
        gone = rng.random(alone) < lost
        pairs = 8 - alone // 2
        found.append(
            ImageChange(
                matched=rng.integers(0, 2, pairs).astype(np.int32),
                score_shift=rng.normal(shift, 0.02, pairs).astype(np.float32),
                overlap=1 - np.abs(rng.normal(0, 0.005, pairs)).astype(np.float32),
                lost=lonely[gone],
                new=lonely[~gone],
            )
        )
    return found


def first_verdict(of: Comparison, stream: list[ImageChange]) -> tuple[str, int]:
    for number, change in enumerate(stream, 1):
        of.add(change)
        if of.verdict != "undecided":
            return of.verdict, number
    return of.verdict, len(stream)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param({"changed": 0.06, "shift": 0.0}, "without a partner", id="other-objects"),
        pytest.param({"changed": 0.0, "shift": -0.03}, "fall of the scores", id="lower-scores"),
        pytest.param({"changed": 0.0, "shift": 0.03}, "rise of the scores", id="higher-scores"),
    ],
)
def test_a_damaged_model_is_rolled_back_within_500_images(damage: dict[str, float], reason: str) -> None:
    tested = comparison()

    verdict, images = first_verdict(tested, changes(np.random.default_rng(1), 500, lost=0.5, **damage))

    assert verdict == "roll back"
    assert images < 500
    assert reason in tested.reasons()[0]


@pytest.mark.parametrize("share", [0.0, 0.005])
def test_an_equal_model_is_promoted_within_500_images(share: float) -> None:
    verdict, images = first_verdict(
        comparison(), changes(np.random.default_rng(2), 500, changed=share, shift=0.001, lost=0.5)
    )

    assert verdict == "promote"
    assert 50 < images < 500


@pytest.mark.slow
def test_a_model_at_its_limits_is_not_rolled_back_in_ten_thousand_images() -> None:
    tested = comparison()

    for change in changes(np.random.default_rng(3), MANY, changed=0.019, shift=0.0095, lost=0.5):
        tested.add(change)
        assert not tested.reasons()


def test_a_class_that_is_gone_counts_although_it_is_rare() -> None:
    def image(number: int) -> ImageChange:
        rare = number % 50 == 0
        return ImageChange(
            matched=np.zeros(20, np.int32),
            score_shift=np.zeros(20, np.float32),
            overlap=np.ones(20, np.float32),
            lost=np.array([2] if rare else [], np.int32),
            new=np.array([], np.int32),
        )

    tested = comparison(changed=0.05)
    for number in range(1000):
        tested.add(image(number))

    assert tested.verdict == "roll back"
    assert tested.reasons() == ["objects of 'stop sign' without a partner: 1.0000 of an image's, beyond the limit 0.2"]


@pytest.mark.slow
def test_failures_roll_back_and_silence_does_not_promote() -> None:
    failing, silent = comparison(), comparison()
    for number in range(300):
        failing.add("failed" if number % 5 == 0 else compare(detections(), detections()))
        silent.add(compare(boxes(classes=[], scores=[]), boxes(classes=[], scores=[])))

    assert (failing.verdict, failing.failed) == ("roll back", 60)
    assert "without an answer of the new model: 0.2" in failing.reasons()[0]
    assert silent.verdict == "undecided"  # images without objects say nothing of scores


def test_a_classifier_is_promoted_too() -> None:
    tested = comparison(Task.CLASSIFY)
    for _ in range(300):
        tested.add(compare(probabilities(), probabilities()))

    assert tested.verdict == "promote"


def test_the_report_has_counts_by_class_and_is_json() -> None:
    tested = comparison()
    old = boxes((0, 0, 10, 10), (50, 50, 60, 60), classes=[0, 1], scores=[0.9, 0.7])
    new = boxes((0, 0, 10, 8), classes=[0], scores=[0.8])
    tested.add(compare(old, new))

    report = json.loads(json.dumps(tested.to_dict()))

    assert report["images"] == 1
    assert report["verdict"] == "undecided"
    assert report["objects"] == {
        "matched": 1, "lost": 1, "new": 0, "matched_share": 0.66667, "score_shift": -0.1, "overlap": 0.8,
    }  # fmt: skip
    assert report["classes"]["bus"]["lost"] == 1
    assert report["measures"]["changed"] == {"mean": 0.33333, "limit": 0.02, "images": 1, "within": False}
    assert report["measures"]["score down"]["mean"] == pytest.approx(0.1)
