# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from yolov8_contract.task import Task
from yolov8_loadtest.errors import ScenarioError
from yolov8_loadtest.scenario.file import load, parse
from yolov8_loadtest.scenario.load import Kind
from yolov8_loadtest.scenario.scenario import Damage, scaled, shipped, with_limits

GOOD = """
about = "a test"
deadline_s = 2
[load]
stages = [{ users = 4, duration_s = 10, warmup = true }, { users = 8, duration_s = 20 }]
[[traffic]]
name = "photos"
weight = 3
longest_side = [320, 640]
parameters = { conf = 0.4 }
priority = 2
[[traffic]]
task = "segment"
model = "other"
[[traffic]]
name = "cut"
damage = "truncated"
[slo]
p95_ms = 100
"""


def test_a_scenario_is_read_as_it_stands() -> None:
    scenario = parse(GOOD, name="test")

    assert scenario.load.kind is Kind.CLOSED
    assert [(stage.level, stage.duration_s, stage.warmup) for stage in scenario.load.stages] == [
        (4, 10, True),
        (8, 20, False),
    ]
    photos, segment, cut = scenario.traffic
    assert (photos.weight, photos.longest_side, photos.parameters) == (3, (320, 640), {"conf": 0.4})
    assert (photos.priority, segment.priority) == (2, None)
    assert (segment.name, segment.task, segment.model) == ("segment", Task.SEGMENT, "other")
    assert (cut.damage, cut.expect) == (Damage.TRUNCATED, "InvalidImageError")
    assert scenario.tasks == (Task.DETECT, Task.SEGMENT)
    assert (scenario.slo.p95_ms, scenario.slo.error_ratio) == (100, 0)


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        pytest.param("about", "abuot", "no key 'abuot' is known; did you mean 'about'?", id="unknown-key"),
        pytest.param(
            "deadline_s = 2",
            "deadline_s = 0",
            "deadline_s: expected a number above 0, got 0",
            id="no-deadline",
        ),
        pytest.param("deadline_s = 2", "deadline_s = '2'", "expected a number, got '2'", id="text-for-number"),
        pytest.param("deadline_s = 2", "deadline_s = true", "expected a number, got True", id="truth-for-number"),
        pytest.param("[load]", "[laod]", "did you mean 'load'?", id="misspelt-table"),
        pytest.param("users = 8", "rate_per_s = 8", "expected one kind of load in all of them", id="two-kinds"),
        pytest.param(
            "users = 8", "users = 1.5", "load.stages[1].users: expected a whole number, got 1.5", id="half-a-user"
        ),
        pytest.param(
            "users = 4",
            "users = 0",
            "stages[0].users: expected a whole number of at least 1",
            id="no-users",
        ),
        pytest.param(
            "duration_s = 20",
            "duration_s = 0",
            "duration_s: expected a whole number of at least 1",
            id="no-time",
        ),
        pytest.param(", duration_s = 20", "", "load.stages[1]: 'duration_s' is missing", id="missing-key"),
        pytest.param('task = "segment"', 'task = "segmnt"', "expected one of detect, segment", id="unknown-task"),
        pytest.param('"truncated"', '"burnt"', "damage: expected one of empty, text", id="unknown-damage"),
        pytest.param('name = "cut"', 'name = "photos"', "expected a name of its own for each", id="two-of-a-name"),
        pytest.param(
            "[320, 640]",
            "[320, -1]",
            "longest_side[1]: expected a whole number",
            id="negative-size",
        ),
        pytest.param("conf = 0.4", "conf = [1]", "or a string, got {'conf': [1]}", id="list-parameter"),
        pytest.param("p95_ms = 100", "p96_ms = 100", "slo: no key 'p96_ms' is known; did you mean", id="unknown-limit"),
        pytest.param("p95_ms = 100", "p95_ms = -1", "slo.p95_ms: expected a number of at least 0", id="negative-limit"),
        pytest.param("deadline_s = 2", "deadline_s = nan", "deadline_s: expected a number above 0, got nan", id="nan"),
        pytest.param("deadline_s = 2", "deadline_s = inf", "expected a number of at most 1e+09, got inf", id="endless"),
        pytest.param("weight = 3", "weight = '3'", "traffic[0].weight: expected a number, got '3'", id="text-weight"),
        pytest.param("weight = 3", "expect = 'Error'", "traffic[0].expect: expected one of", id="unknown-error"),
        pytest.param('task = "segment"', "color = 1", "traffic[1]: no key 'color' is known; it may have", id="no-hint"),
        pytest.param("users = 4", "cameras = 4", "expected one kind of load in all of them", id="users-and-cameras"),
        pytest.param("users = 4, ", "", "expected one kind of load in all of them", id="stage-without-level"),
        pytest.param("p95_ms = 100", "p95_ms = ", "test.toml: it is no TOML", id="no-toml"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(right: str, wrong: str, said: str) -> None:
    assert right in GOOD

    with pytest.raises(ScenarioError, match=r"^test\.toml") as caught:
        parse(GOOD.replace(right, wrong, 1), name="test")

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "'load' is missing", id="empty"),
        pytest.param("load = 1", "load: expected a table, got 1", id="no-table"),
        pytest.param("[load]\nstages = []", "load.stages: expected a list of at least 1, got []", id="no-stages"),
        pytest.param("[load]\nstages = [{ cameras = 1, duration_s = 1 }]", "load: 'fps' is missing", id="no-fps"),
    ],
)
def test_a_scenario_without_a_load_is_refused(text: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(text, name="test")

    assert str(caught.value).startswith(f"test.toml: {said}")


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["no-file", "no-text"])
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ScenarioError, match=r"mine\.toml"):
        load(str(path))


@pytest.mark.parametrize("name", shipped())
def test_each_shipped_scenario_is_right_and_says_what_it_is_for(name: str) -> None:
    assert load(name).about


def test_the_kinds_of_load_test_are_all_there() -> None:
    assert set(shipped()) >= {
        "smoke", "steady", "ramp", "spike", "soak", "arrival-rate",
        "mixed-sizes", "mixed-tasks", "bad-input", "cameras",
    }  # fmt: skip


def test_factors_change_load_and_times() -> None:
    scenario = scaled(parse(GOOD, name="test"), load_factor=0.1, time_factor=0.5)

    assert [(stage.level, stage.duration_s) for stage in scenario.load.stages] == [(1, 5), (1, 10)]


def test_limits_can_be_set_anew() -> None:
    slo = with_limits(parse(GOOD, name="test"), ["p95_ms=50", "throughput_per_s = 3"]).slo

    assert (slo.p95_ms, slo.throughput_per_s) == (50, 3)


@pytest.mark.parametrize("limit", ["p95_ms", "p95_ms=fast", "p=3"])
def test_a_limit_that_is_none_is_refused(limit: str) -> None:
    with pytest.raises(ScenarioError, match="expected a limit such as p95_ms=200"):
        with_limits(parse(GOOD, name="test"), [limit])
