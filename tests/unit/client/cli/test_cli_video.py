# SPDX-License-Identifier: Apache-2.0
"""Test what the command ``video`` prints and writes, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from tests.clips import clip, number_sent, numbered, read
from tests.fakes.answers import arrays
from tests.fakes.fake_triton import FakeTriton, Refusal, refusing
from tests.unit.client.cli.test_cli import RUNNER
from tests.unit.client.conftest import Serve
from tests.unit.client.video.test_video import without_frames
from yolov8_contract.task import Task
from yolov8_triton._cli.app import app

COUNT = 12


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return clip(tmp_path / "clip.avi", numbered(COUNT))


def ask(fake: FakeTriton, *arguments: object) -> Any:
    words = ["video", *map(str, arguments), "--url", fake.url]
    return RUNNER.invoke(app, words, prog_name="yolov8-triton")


def test_a_frame_is_a_line_of_text(serve: Serve, path: Path) -> None:
    done = ask(serve(), path)

    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "frame 0, 0.00 s: 1 person, 1 bus"
    assert [line.split(":")[0] for line in lines] == [f"frame {n}, {n / 10:.2f} s" for n in range(COUNT)]
    assert done.stderr.startswith(f"{COUNT} frames in ")


@pytest.mark.parametrize("task", Task, ids=lambda task: task.value)
def test_json_is_one_line_per_frame_with_the_model_s_task(serve: Serve, path: Path, task: Task) -> None:
    done = ask(serve(task), path, "--json")

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["frame"], line["time_s"]) for line in lines] == [(n, n / 10) for n in range(COUNT)]
    assert {line["task"] for line in lines} == {task.value}


def test_objects_are_tracked(serve: Serve, path: Path) -> None:
    done = ask(serve(), path, "--track", "--json", "--conf", 0.3)

    objects = [json.loads(line)["objects"] for line in done.stdout.splitlines()]
    assert [[one["tracker_id"] for one in found] for found in objects[1:]] == [[0, 1]] * (COUNT - 1)


@pytest.mark.slow
@pytest.mark.parametrize("task", Task, ids=lambda task: task.value)
def test_an_annotated_video_is_written(serve: Serve, path: Path, tmp_path: Path, task: Task) -> None:
    done = ask(serve(task), path, "--output", tmp_path / "out.mp4")

    frames = read(tmp_path / "out.mp4")
    assert (done.exit_code, done.stdout) == (0, "")
    assert len(frames) == COUNT
    assert max(np.ptp(frame.astype(int), axis=-1).max() for frame in frames) > 50  # colours on grey


def test_the_other_frames_are_processed_after_one_fails(serve: Serve, path: Path, tmp_path: Path) -> None:
    def answer(request: Any) -> dict[str, Any]:
        if number_sent(request) == 3:
            raise Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "")
        return arrays(Task.DETECT)

    done = ask(serve(answer=answer), path, "--json", "--output", tmp_path / "out.avi")

    assert done.exit_code == 1
    assert [json.loads(line)["frame"] for line in done.stdout.splitlines()] == [0, 1, 2, *range(4, COUNT)]
    complaint, summary = done.stderr.splitlines()
    assert complaint.startswith("error: frame 3: ")
    assert summary.startswith(f"{COUNT} frames in ")
    assert len(read(tmp_path / "out.avi")) == COUNT


@pytest.mark.parametrize(
    ("status", "text", "code"),
    [
        pytest.param(grpc.StatusCode.NOT_FOUND, "... is not found", 3, id="unknown-model"),
        pytest.param(grpc.StatusCode.INVALID_ARGUMENT, "invalid parameter: 'max_det'", 2, id="bad-parameter"),
    ],
)
def test_an_error_that_every_frame_would_have_ends_the_run(
    serve: Serve, path: Path, status: grpc.StatusCode, text: str, code: int
) -> None:
    done = ask(serve(answer=refusing(status, text)), path)

    assert done.exit_code == code
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["missing.mp4"], "error: missing.mp4: no such video file", id="missing"),
        pytest.param(["notes.txt"], "notes.txt: OpenCV can't open it", id="no-video"),
        pytest.param(["clip.avi", "--output", "out.gif"], "expected a name that ends in .mp4", id="suffix"),
        pytest.param(["clip.avi", "--output", "clip.avi"], "error: clip.avi: the video would overwrite", id="source"),
        pytest.param(["clip.avi", "--frames", "some"], "'some' is not one of", id="frames"),
    ],
)
def test_wrong_usage_is_an_error(
    serve: Serve, path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(path.parent)
    Path("notes.txt").write_text("no video")
    before = path.read_bytes()

    done = ask(serve(), *arguments)

    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert path.read_bytes() == before


def test_results_of_a_classifier_cannot_be_tracked(serve: Serve, path: Path) -> None:
    done = ask(serve(Task.CLASSIFY), path, "--track")

    assert done.exit_code == 2
    assert "it finds no objects to track" in done.stderr


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of what the signal cuts short
def test_an_interrupted_run_leaves_a_readable_video(serve: Serve, tmp_path: Path) -> None:
    path = clip(tmp_path / "long.avi", numbered(60))
    over = threading.Event()

    def answer(request: Any) -> dict[str, Any]:
        if number_sent(request) == 30:
            os.kill(os.getpid(), signal.SIGINT)
        if number_sent(request) >= 30:
            over.wait(60)
        return arrays(Task.DETECT)

    try:
        done = ask(serve(answer=answer), path, "--json", "--output", tmp_path / "out.mp4", "--timeout", 60)
    finally:
        over.set()

    assert (done.exit_code, done.stderr) == (130, "error: interrupted\n")
    printed = len(done.stdout.splitlines())
    written = read(tmp_path / "out.mp4")
    assert printed <= len(written) <= printed + 1
    assert printed > 20


def test_a_video_without_a_frame_is_a_line_and_not_a_success(serve: Serve, tmp_path: Path) -> None:
    done = ask(serve(), without_frames(tmp_path / "none.avi"), "--json")

    assert done.exit_code in (1, 2)
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {tmp_path / 'none.avi'}: OpenCV can")
    assert "Traceback" not in done.output
