# SPDX-License-Identifier: Apache-2.0
"""The pure parts of ``examples/driving``: what is asked about in which mode, the limit, and the drawn road."""

from __future__ import annotations

import importlib
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.clips import clip

FOLDER = Path(__file__).parents[3] / "examples" / "driving"
GOOD = {"front_answered": 10, "front_missed": 0, "others_answered": 25, "others_missed": 0}
LATE = {**GOOD, "front_answered": 8, "front_missed": 2}
CROWDED = {**GOOD, "others_answered": 19, "others_missed": 6}
UNANSWERED = {"front_answered": 0, "front_missed": 10, "others_answered": 0, "others_missed": 25}
EMPTY = dict.fromkeys(GOOD, 0)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module of the example as its script does."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def modes(module: Any, *seconds: dict[str, int]) -> list[str]:
    """Return the modes in which a drive was after each of its seconds."""
    degradation = module("degradation")
    ladder, found = degradation.Ladder(), []
    for second in seconds:
        ladder.after(degradation.Second(**second))
        found.append(ladder.mode.name)
    return found


def test_one_bad_second_changes_nothing_and_two_in_a_row_ask_for_less(module: Any) -> None:
    assert end(module, LATE, GOOD, LATE) == "NORMAL"
    assert end(module, LATE, LATE) == "REDUCED"
    assert end(module, *[CROWDED] * 2) == "REDUCED"
    assert end(module, *[LATE] * 4) == "FRONT"
    assert end(module, *[LATE] * 9) == "FRONT"


def end(module: Any, *seconds: dict[str, int]) -> str:
    return modes(module, *seconds)[-1]


def test_good_seconds_ask_for_more_again_step_by_step(module: Any) -> None:
    found = modes(module, *[LATE] * 4, *[GOOD] * 10)

    assert found[3:8] == ["FRONT"] * 5
    assert found[8:13] == ["REDUCED"] * 5
    assert found[13] == "NORMAL"


def test_a_return_that_fails_is_tried_later_the_next_time(module: Any) -> None:
    found = modes(module, *([CROWDED] * 2 + [GOOD] * 5) * 2 + [GOOD] * 5)

    assert found[6] == "NORMAL"
    assert found[8:18] == ["REDUCED"] * 10
    assert found[18] == "NORMAL"


def test_a_second_without_any_answer_leaves_a_probe_alone_until_it_is_answered(module: Any) -> None:
    assert modes(module, UNANSWERED, EMPTY, UNANSWERED, *[GOOD] * 11) == (
        ["NO_ANSWERS"] * 3 + ["FRONT"] * 5 + ["REDUCED"] * 5 + ["NORMAL"]
    )


def test_the_front_camera_has_its_rate_in_every_mode_but_that_without_answers(module: Any) -> None:
    degradation = module("degradation")
    rates = {mode.name: [degradation.rate(mode, view, 10.0) for view in degradation.VIEWS] for mode in degradation.Mode}

    assert rates == {
        "NORMAL": [10, 10, 10, 10, 10, 10],
        "REDUCED": [10, 5, 5, 5, 5, 5],
        "FRONT": [10, 5, 5, 0, 0, 0],
        "NO_ANSWERS": [1, 0, 0, 0, 0, 0],
    }
    assert [view.priority for view in degradation.VIEWS] == sorted(view.priority for view in degradation.VIEWS)


def test_missed_frames_count_as_infinitely_old(module: Any) -> None:
    objective = module("objective")
    record = objective.Record(ages_s=[0.01 * number for number in range(1, 100)])
    assert record.percentile_s(99) == pytest.approx(0.99)
    assert objective.verdict("all", record, 1.0)[0]

    record.missed["dropped by the server"] = 2

    assert record.percentile_s(50) == pytest.approx(0.51)
    assert record.percentile_s(99) == math.inf
    kept, line = objective.verdict("all", record, 1.0)
    assert not kept
    assert "MISSED: all: front p99 missed, limit 1000 ms" in line


def test_a_drive_without_frames_does_not_keep_its_limit(module: Any) -> None:
    objective = module("objective")

    assert not objective.verdict("all", objective.Record(), 1.0)[0]


def test_the_drawn_road_moves_and_each_view_has_its_own(module: Any) -> None:
    road = module("road")
    front, rear = road.drawn("front"), road.drawn("rear")

    assert {frame.shape for frame in front} == {(road.HEIGHT, road.WIDTH, 3)}
    assert all(np.any(front[number] != front[number - 1]) for number in range(len(front)))
    assert np.any(front[0] != rear[0])
    assert np.array_equal(road.drawn("front")[3], front[3])


def test_a_recorded_drive_is_played_again_and_again(module: Any, tmp_path: Path) -> None:
    road = module("road")
    clip(tmp_path / "front.avi", [np.full((60, 100, 3), shade, np.uint8) for shade in (40, 80, 120)])
    frames = road.frames_of("front", tmp_path)

    shades = [round(next(frames).mean() / 40) for _ in range(7)]

    assert shades == [1, 2, 3, 1, 2, 3, 1]
    with pytest.raises(FileNotFoundError, match="no video for camera 'rear'"):
        road.frames_of("rear", tmp_path)


def test_a_video_without_frames_is_an_error(module: Any, tmp_path: Path) -> None:
    (tmp_path / "front.mp4").write_bytes(b"no video")

    with pytest.raises(OSError, match=r"front\.mp4: expected a video"):
        next(module("road").frames_of("front", tmp_path))


def test_a_camera_keeps_its_rate_and_fails_when_it_is_broken(module: Any) -> None:
    road, broken = module("road"), []
    camera = road.RoadCamera(iter([np.zeros((4, 4, 3), np.uint8)] * 9), lambda: 50.0, lambda: bool(broken))
    begin = time.monotonic()
    times = [camera.read()[0] for _ in range(5)]

    assert times == sorted(times)
    assert time.monotonic() - begin >= 0.09
    broken.append(True)
    with pytest.raises(ConnectionError, match="cable is pulled"):
        camera.read()
