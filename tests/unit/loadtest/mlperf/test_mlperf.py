# SPDX-License-Identifier: Apache-2.0
"""LoadGen drives systems of a known speed: its verdicts are read, failures are counted, and answers are evaluated."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import mlperf_loadgen
import numpy as np
import pytest

from yolov8_loadtest.errors import LoadTestError, PreparationError
from yolov8_loadtest.mlperf.accuracy import COLUMNS, Truth, read_rows, to_rows
from yolov8_loadtest.mlperf.log import ACCURACY, DETAIL, read_verdict
from yolov8_loadtest.mlperf.scenarios import Expected, Length, Scenario, settings
from yolov8_loadtest.mlperf.system import Answer, Failures, System
from yolov8_triton import Detections

LABELS = ("cat", "dog")
LATENCY_S = 0.004
NOTHING = np.empty((0, COLUMNS), np.float32)


def expected(limit_s: float = 1.0) -> Expected:
    return Expected(latency_s=LATENCY_S, rate=400, server_rate=100, server_limit_s=limit_s)


def images(folder: Path, count: int = 4) -> list[Path]:
    files = [folder / f"{number}.jpg" for number in range(count)]
    for number, file in enumerate(files):
        file.write_bytes(bytes([number]))
    return files


def slow(number: int, image: bytes) -> Any:
    assert image == bytes([number])
    time.sleep(LATENCY_S)
    return NOTHING


def run(
    folder: Path, scenario: Scenario, answer: Answer = slow, *, accuracy: bool = False, limit_s: float = 1.0
) -> Failures:
    system = System(mlperf_loadgen, images(folder), answer, 2)
    length = Length(seconds=1, full=False)
    return system.run(settings(mlperf_loadgen, scenario, length, expected(limit_s), 4, accuracy=accuracy), folder)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", Scenario)
def test_a_sound_system_is_valid_in_each_scenario(tmp_path: Path, scenario: Scenario) -> None:
    failures = run(tmp_path, scenario)

    verdict = read_verdict(tmp_path)
    assert verdict.valid
    assert verdict.missed == ()
    assert failures == Failures()
    if scenario is Scenario.OFFLINE:
        assert 200 < verdict.figures["samples_per_s"] < 500
    else:
        assert verdict.figures["p90_ms"] >= 1000 * LATENCY_S
        assert verdict.queries >= 64


@pytest.mark.slow
def test_a_system_over_the_latency_limit_is_invalid(tmp_path: Path) -> None:
    run(tmp_path, Scenario.SERVER, limit_s=LATENCY_S / 2)

    verdict = read_verdict(tmp_path)
    assert not verdict.valid
    assert "the latency limit" in verdict.missed


def test_images_without_an_answer_are_counted_and_do_not_stop_the_run(tmp_path: Path) -> None:
    def broken(number: int, _: bytes) -> Any:
        if number == 3:
            raise ValueError("no more")
        return NOTHING

    failures = run(tmp_path, Scenario.SINGLE_STREAM, broken)

    assert failures.count > 0
    assert failures.first == "ValueError: no more"


def test_a_system_that_does_not_answer_at_all_is_refused(tmp_path: Path) -> None:
    def broken(_: int, __: bytes) -> Any:
        raise ValueError("nobody there")

    with pytest.raises(LoadTestError, match=r"first image is not answered: nobody there"):
        System(mlperf_loadgen, images(tmp_path), broken, 2).estimate(0.1)


def test_the_estimate_is_of_one_image_and_of_many(tmp_path: Path) -> None:
    latency_s, rate = System(mlperf_loadgen, images(tmp_path), slow, 2).estimate(0.5)

    assert LATENCY_S <= latency_s < 10 * LATENCY_S
    assert 0.2 / latency_s < rate < 2.5 / LATENCY_S


def test_answers_are_logged_and_evaluated(tmp_path: Path) -> None:
    truth, found = tmp_path / "truth.json", {}
    document: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    document["categories"] = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]
    for number in range(4):
        document["images"].append({"id": 50 + number, "file_name": f"{number}.jpg", "width": 200, "height": 100})
        row = {"id": number + 1, "image_id": 50 + number, "category_id": 3, "iscrowd": 0, "area": 2400.0}
        document["annotations"].append(row | {"bbox": [20.0, 10.0, 60.0, 40.0]})
        found[number] = Detections(
            xyxy=np.array([[20, 10, 80, 50]], np.float32),
            confidence=np.array([0.9], np.float32),
            class_id=np.array([0 if number < 2 else 1], np.int32),
            orig_shape=(100, 200),
            labels=LABELS,
        )
    truth.write_text(json.dumps(document))

    run(tmp_path, Scenario.SINGLE_STREAM, lambda number, _: to_rows(number, found[number]), accuracy=True)

    rows = read_rows(tmp_path / ACCURACY)
    assert sorted(rows[:, 0].tolist()) == [0, 1, 2, 3]
    assert rows[0, 1:6].tolist() == pytest.approx([0.1, 0.1, 0.5, 0.4, 0.9])
    known = Truth(truth, LABELS)
    known.check(images(tmp_path))
    # Half of the cats are found; the others are called dogs, which no image has.
    assert known.average_precision(rows, images(tmp_path)) == pytest.approx(0.5, abs=0.01)
    assert known.average_precision(NOTHING, images(tmp_path)) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not COCO annotations"),
        ("[]", "not COCO annotations"),
        ('{"images": [{"id": 1}], "categories": []}', "not COCO annotations"),
        ('{"images": [], "categories": [{"id": 1, "name": "cat"}]}', "no category of the model's classes dog"),
    ],
)
def test_annotations_that_do_not_fit_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "truth.json"
    path.write_text(text)

    with pytest.raises(PreparationError, match=said):
        Truth(path, LABELS)


def test_an_image_without_annotations_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "truth.json"
    path.write_text('{"images": [], "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]}')

    with pytest.raises(PreparationError, match=r"no image '0\.jpg', and 3 others"):
        Truth(path, LABELS).check(images(tmp_path))


@pytest.mark.parametrize("content", [None, "", ':::MLLOG {"key": "loadgen_version", "value": "6"}'])
def test_a_log_without_a_verdict_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / DETAIL).write_text(content)

    with pytest.raises(LoadTestError, match=DETAIL):
        read_verdict(tmp_path)


@pytest.mark.parametrize("content", [None, "[", '[{"data": "00"}]', "[3]"])
def test_a_malformed_log_of_answers_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / ACCURACY).write_text(content)

    with pytest.raises(LoadTestError, match="log of answers"):
        read_rows(tmp_path / ACCURACY)
