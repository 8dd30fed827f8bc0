# SPDX-License-Identifier: Apache-2.0
"""The command canary: its sources, two deployments, metrics, and what it refuses."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clips import clip, number_sent, numbered
from tests.command_line import CliRunner, Result
from tests.fakes.answers import arrays, model
from tests.fakes.fake_triton import FakeTriton, ensemble_config, serving
from yolov8_contract.task import Task
from yolov8_triton._cli.app import app


def fake_of(names: tuple[str, ...], count: int) -> FakeTriton:
    configs = {name: ensemble_config(name, model(Task.DETECT)) for name in names}
    return FakeTriton(configs, lambda _: arrays(Task.DETECT, count))


@pytest.fixture
def here() -> Iterator[FakeTriton]:
    """Serve ``old`` and ``next``, which find the same."""
    fake = fake_of(("old", "next"), 2)
    with serving(fake):
        yield fake


@pytest.fixture
def there() -> Iterator[FakeTriton]:
    """Serve another ``old``, which finds nothing."""
    fake = fake_of(("old",), 0)
    with serving(fake):
        yield fake


def canary(fake: FakeTriton, *words: object) -> Result:
    return CliRunner().invoke(app, ["canary", "--url", fake.url, *map(str, words)])


def test_each_frame_of_a_video_goes_to_both_models_beside_images(here: FakeTriton, photo: Path, tmp_path: Path) -> None:
    film = clip(tmp_path / "clip.avi", numbered(6))

    done = canary(here, "old", "next", photo, film, photo)

    assert done.exit_code == 5
    assert "undecided after 8 images" in done.stdout
    for name in ("old", "next"):
        sent = [number_sent(request) for request in here.requests if request.model_name == name]
        assert set(range(6)) <= set(sent)
        assert len(sent) == 8


def test_a_video_ends_at_the_number_of_images_that_was_asked_for(here: FakeTriton, tmp_path: Path) -> None:
    film = clip(tmp_path / "clip.avi", numbered(30))

    done = canary(here, "old", "next", film, "--max-images", 3)

    assert "undecided after 3 images" in done.stdout


def test_an_empty_folder_is_named_once(here: FakeTriton, tmp_path: Path) -> None:
    done = canary(here, "old", "next", tmp_path)

    assert done.exit_code == 5
    assert done.stderr == f"error: {tmp_path}: no images in this folder\n"


def test_a_source_that_can_not_be_read_is_one_line(here: FakeTriton, tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"no video")

    missing = canary(here, "old", "next", "missing.mp4")
    broken = canary(here, "old", "next", empty)

    assert (missing.exit_code, broken.exit_code) == (2, 2)
    assert missing.stderr == "error: missing.mp4: no such video file\n"
    assert re.fullmatch(r"error: \S+empty\.mp4: OpenCV can't open it: .*\n", broken.stderr)


def test_a_model_is_compared_with_its_namesake_of_another_deployment(
    here: FakeTriton, there: FakeTriton, photo: Path
) -> None:
    done = canary(here, "old", "old", *[photo] * 40, "--new-url", there.url)

    assert done.exit_code == 4
    assert "roll back after" in done.stdout
    assert there.requests


def test_the_metrics_say_what_was_found(here: FakeTriton, there: FakeTriton, photo: Path, tmp_path: Path) -> None:
    path = tmp_path / "canary.prom"

    canary(here, "old", "old", *[photo] * 40, "--new-url", there.url, "--metrics", path)

    lines = path.read_text().splitlines()
    models = f'new="old at {there.url}",old="old at {here.url}"'
    assert f'yolov8_canary_verdict{{{models},verdict="roll back"}} 1.0' in lines
    assert f'yolov8_canary_measure{{measure="changed",{models}}} 1.0' in lines
    assert f'yolov8_canary_limit{{measure="changed",{models}}} 0.02' in lines
    lost = [line for line in lines if line.startswith("yolov8_canary_objects_total") and 'outcome="lost"' in line]
    assert sum(float(line.rpartition(" ")[2]) for line in lost) > 0
    assert sorted(tmp_path.glob(".*")) == []


def test_a_fall_to_undecided_leaves_metrics_of_no_images(here: FakeTriton, tmp_path: Path) -> None:
    path = tmp_path / "canary.prom"

    assert canary(here, "old", "next", "missing.jpg", "--metrics", path).exit_code == 5

    assert 'outcome="compared"} 0.0' in path.read_text()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        pytest.param(["old", "old"], "expected another model than OLD, got 'old' for both", id="itself"),
        pytest.param(["old", "next", "--apply", "--new-url", "h:1"], "shift the share of the route", id="two-to-apply"),
        pytest.param(["old", "next", "--output", "no/such/c.json"], "folder 'no/such' does not exist", id="output"),
        pytest.param(["old", "next", "--metrics", "no/such/c.prom"], "folder 'no/such' does not exist", id="metrics"),
        pytest.param(["old", "next", "--max-images", "0"], "'--max-images': Input should be", id="no-images"),
        pytest.param(["old", "next", "--new-url", "http://"], "Invalid value for --new-url", id="address"),
    ],
)
def test_what_can_not_work_is_refused_before_a_request(
    here: FakeTriton, photo: Path, words: list[str], line: str
) -> None:
    done = canary(here, *words[:2], photo, *words[2:])

    assert done.exit_code == 2
    assert line in " ".join(re.sub(r"[│╭╮╰╯─]", " ", done.stderr).split())
    assert not here.requests


def test_models_that_can_not_be_compared_are_refused(here: FakeTriton, photo: Path) -> None:
    here.configs["poses"] = ensemble_config("poses", model(Task.POSE))

    done = canary(here, "old", "poses", photo)

    assert done.exit_code == 2
    assert "expected the task of OLD, 'detect', got 'pose'" in " ".join(re.sub(r"[│╭╮╰╯─]", " ", done.stderr).split())


def test_metrics_never_replace_a_pipe_or_a_device(here: FakeTriton, photo: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    done = canary(here, "old", "next", photo, "--metrics", pipe)

    assert done.exit_code == 2
    assert "--metrics: expected a file to write, got the device or pipe" in done.stderr
    assert pipe.is_fifo()
