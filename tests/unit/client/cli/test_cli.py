# SPDX-License-Identifier: Apache-2.0
"""Test what the command line prints and writes, and its exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from PIL import Image

from tests.command_line import CliRunner
from tests.fakes.answers import HEIGHT, WIDTH, arrays, model
from tests.fakes.fake_triton import FakeTriton, Refusal, ensemble_config, refusing, serving
from tests.unit.client.conftest import Serve
from yolov8_contract.task import Task
from yolov8_triton import RetryPolicy
from yolov8_triton._cli.app import app

NO_SERVER = "127.0.0.1:1"
RUNNER = CliRunner(env={"COLUMNS": "300"})  # so that no message is wrapped
MODULE = [sys.executable, "-m", "yolov8_triton"]


def run(*arguments: object) -> Any:
    return RUNNER.invoke(app, [str(one) for one in arguments], prog_name="yolov8-triton")


def ask(fake: FakeTriton, task: Task, *arguments: object) -> Any:
    return run(task.value, *arguments, "--url", fake.url, "--model", "yolov8n")


@pytest.mark.parametrize(
    ("task", "cells"),
    [
        pytest.param(Task.DETECT, ["1 person, 1 bus", "confidence", "0.900", "25.0"], id="detect"),
        pytest.param(Task.SEGMENT, ["pixels", "30"], id="segment"),
        pytest.param(Task.POSE, ["keypoints", "16 of 17"], id="pose"),
        pytest.param(Task.OBB, ["degrees", "90.0"], id="obb"),
        pytest.param(Task.CLASSIFY, ["probability", "0.7000"], id="classify"),
    ],
)
def test_a_result_is_a_table(serve: Serve, photo: Path, task: Task, cells: list[str]) -> None:
    done = ask(serve(task), task, photo)

    assert done.exit_code == 0
    assert f"{photo} 100 x 60: " in done.stdout
    for cell in ["class", "person", "bus", *cells]:
        assert cell in done.stdout


def test_json_is_one_line_per_image(serve: Serve, photo: Path) -> None:
    done = ask(serve(), Task.DETECT, photo, photo, "--json")

    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["image"] for line in lines] == [str(photo)] * 2
    assert lines[0]["orig_shape"] == [HEIGHT, WIDTH]
    assert [one["class_name"] for one in lines[0]["objects"]] == ["person", "bus"]


def test_thresholds_go_to_the_server(serve: Serve, photo: Path) -> None:
    fake = serve()

    ask(
        fake,
        Task.DETECT,
        *(photo, "--conf", "0.5", "--iou", "0.6", "--max-det", "9", "--agnostic", "--classes", "bus, 2"),
    )

    parameters = fake.requests[0].parameters
    assert parameters["conf"].double_param == 0.5
    assert parameters["iou"].double_param == 0.6
    assert parameters["max_det"].int64_param == 9
    assert parameters["agnostic"].bool_param is True
    assert parameters["classes"].string_param == "1,2"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "text"),
    [
        pytest.param(grpc.StatusCode.UNAVAILABLE, "Socket closed", id="dead"),
        pytest.param(grpc.StatusCode.NOT_FOUND, "... has no available versions", id="draining"),
    ],
)
def test_an_unavailable_server_ends_the_run(serve: Serve, photo: Path, status: grpc.StatusCode, text: str) -> None:
    fake = serve(answer=refusing(status, text))

    done = ask(fake, Task.DETECT, photo, photo, photo, "--in-flight", 1)

    assert done.exit_code == 3
    assert len(fake.requests) == RetryPolicy().attempts  # all for the first image
    assert len(done.stderr.splitlines()) == 1


def test_thresholds_that_are_not_given_are_not_sent(serve: Serve, photo: Path) -> None:
    fake = serve()

    ask(fake, Task.DETECT, photo)

    assert not fake.requests[0].parameters


@pytest.mark.parametrize(
    ("task", "name"),
    [
        (Task.DETECT, "yolov8n"),
        (Task.SEGMENT, "yolov8n-seg"),
        (Task.POSE, "yolov8n-pose"),
        (Task.OBB, "yolov8n-obb"),
        (Task.CLASSIFY, "yolov8n-cls"),
    ],
)
def test_a_command_uses_the_model_that_ultralytics_has_for_its_task(
    serve: Serve, photo: Path, task: Task, name: str
) -> None:
    fake = serve(task)
    fake.configs[name] = fake.configs["yolov8n"]

    run(task.value, photo, "--url", fake.url)

    assert [request.model_name for request in fake.requests] == [name]


def test_a_folder_stands_for_the_images_in_it_by_name(serve: Serve, tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "notes.txt"):
        (tmp_path / name).write_bytes(b"")

    done = ask(serve(), Task.DETECT, tmp_path, "--json")

    assert [json.loads(line)["image"] for line in done.stdout.splitlines()] == [
        str(tmp_path / "a.PNG"),
        str(tmp_path / "b.jpg"),
    ]


@pytest.mark.parametrize("task", Task, ids=lambda task: task.value)
def test_annotated_pictures_are_written(serve: Serve, photo: Path, tmp_path: Path, task: Task) -> None:
    done = ask(serve(task), task, photo, "--output", tmp_path / "new" / "folder")

    assert done.exit_code == 0
    with Image.open(tmp_path / "new" / "folder" / "photo.jpg") as picture:
        assert picture.width >= WIDTH
        assert np.ptp(np.asarray(picture).astype(int), axis=-1).max() > 50  # colours on grey


def test_images_with_the_same_name_get_different_pictures(serve: Serve, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / photo.name
    twin.write_bytes(photo.read_bytes())

    ask(serve(), Task.DETECT, photo, twin, "--output", tmp_path / "out")

    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["photo-2.jpg", "photo.jpg"]


def test_a_picture_does_not_overwrite_its_image(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (WIDTH, HEIGHT)).save(path)
    content = path.read_bytes()

    done = ask(serve(), Task.DETECT, path, "--output", tmp_path)

    assert done.exit_code == 1
    assert (
        done.stderr
        == f"error: {path}: the annotated picture would overwrite the image; use another folder than {tmp_path}\n"
    )
    assert path.read_bytes() == content


def test_the_other_images_are_processed_after_one_fails(serve: Serve, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"bad")

    def answer(request: Any) -> dict[str, Any]:
        if request.raw_input_contents[0] == b"bad":
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "in ensemble 'yolov8n', invalid image: 3 bytes")
        return arrays(Task.DETECT)

    fake = serve(answer=answer)

    done = ask(fake, Task.DETECT, tmp_path / "bad.jpg", tmp_path / "missing.jpg", photo, "--json")

    assert done.exit_code == 1
    assert [json.loads(line)["image"] for line in done.stdout.splitlines()] == [str(photo)]
    assert done.stderr.splitlines() == [
        f"error: {tmp_path / 'bad.jpg'}: model 'yolov8n' at {fake.url}: invalid image: 3 bytes",
        f"error: {tmp_path / 'missing.jpg'}: No such file or directory",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "text", "code"),
    [
        pytest.param(grpc.StatusCode.NOT_FOUND, "... is not found", 3, id="unknown-model"),
        pytest.param(grpc.StatusCode.UNAVAILABLE, "This protocol is restricted", 3, id="restricted"),
        pytest.param(grpc.StatusCode.INVALID_ARGUMENT, "invalid parameter: 'max_det'", 2, id="bad-parameter"),
    ],
)
def test_an_error_that_every_image_would_have_ends_the_run(
    serve: Serve, photo: Path, status: grpc.StatusCode, text: str, code: int
) -> None:
    fake = serve(answer=refusing(status, text))

    done = ask(fake, Task.DETECT, photo, photo, photo, "--in-flight", 1)

    assert done.exit_code == code
    assert len(fake.requests) == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["detect", "--json"], 2, "give images", id="no-image"),
        pytest.param(["detect", "x.jpg", "--treshold", "1"], 2, r"No such option:? '?--treshold", id="unknown-option"),
        pytest.param(["detect", "x.jpg", "--conf", "2"], 2, "Invalid value for '--conf'", id="conf-too-large"),
        pytest.param(["detect", "x.jpg", "--timeout", "soon"], 2, "Invalid value for '--timeout'", id="no-number"),
        pytest.param(["detect", "x.jpg", "--url", "http://"], 2, "Invalid value for --url", id="no-address"),
        pytest.param(
            ["classify", "x.jpg", "--conf", "0.5"], 2, r"No such option:? '?--conf", id="option-of-another-command"
        ),
        pytest.param(["fly"], 2, "No such command 'fly'", id="unknown-command"),
        pytest.param(["detect", "x.jpg", "--url", NO_SERVER], 3, "is the server up", id="no-server"),
        pytest.param(["models", "--url", NO_SERVER], 3, f"server at {NO_SERVER}: ", id="models-without-server"),
        pytest.param(["check", "--url", NO_SERVER], 3, "is the server up", id="check-without-server"),
    ],
)
def test_an_error_is_one_line_on_stderr(arguments: list[str], code: int, message: str) -> None:
    done = run(*arguments)

    assert done.exit_code == code
    # click and Typer's copy of it differ in their words
    assert len([line for line in done.stderr.splitlines() if re.search(message, line)]) == 1
    assert "Traceback" not in done.output


def test_an_unknown_class_is_wrong_usage(serve: Serve, photo: Path) -> None:
    done = ask(serve(), Task.DETECT, photo, "--classes", "buss")

    assert done.exit_code == 2
    assert "did you mean 'bus'?" in done.stderr


def test_another_task_s_model_is_told_with_the_command_that_fits(serve: Serve, photo: Path) -> None:
    done = ask(serve(Task.POSE), Task.DETECT, photo)

    assert done.exit_code == 3
    assert "serves 'pose', not 'detect': use the command pose, or name a model" in done.stderr


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of what the signal cuts short
def test_an_interrupted_run_ends_at_once_with_its_own_code(serve: Serve, photo: Path) -> None:
    over = threading.Event()

    def interrupt(_: object) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGINT)
        over.wait(timeout=60)
        return arrays(Task.DETECT)

    try:
        done = ask(serve(answer=interrupt), Task.DETECT, photo)
    finally:
        over.set()

    assert (done.exit_code, done.stderr) == (130, "error: interrupted\n")


@pytest.mark.slow
def test_a_server_that_stops_during_the_run_is_one_line_on_stderr(photo: Path) -> None:
    fake = FakeTriton({"yolov8n": ensemble_config("yolov8n", model(Task.DETECT))}, lambda _: arrays(Task.DETECT))
    with serving(fake) as url:
        command = [*MODULE, "detect", str(photo), "-", "--url", url, "--json"]  # the run waits for the second image
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(command, text=True, **pipes)
        assert process.stdout is not None
        assert process.stdout.readline()

    _, errors = process.communicate("an image", timeout=60)  # the server is gone

    assert process.returncode == 3
    assert [line.startswith("error: model 'yolov8n' at") for line in errors.splitlines()] == [True]


@pytest.mark.slow
def test_a_closed_output_ends_the_run_without_a_message(serve: Serve, photo: Path) -> None:
    command = [*MODULE, "detect", *[str(photo)] * 3, "--url", serve().url, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.close()
        _, errors = process.communicate(timeout=60)

    assert (process.returncode, errors) == (1, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "usage"),
    [
        *[pytest.param([task.value], f"{task.value} [OPTIONS] IMAGE...", id=task.value) for task in Task],
        pytest.param(["video"], "video [OPTIONS] SOURCE", id="video"),
        pytest.param(["models"], "models [OPTIONS]", id="models"),
        pytest.param(["check"], "check [OPTIONS]", id="check"),
        pytest.param([], "[OPTIONS] COMMAND [ARGS]...", id="all"),
    ],
)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_has_a_readable_usage_line(arguments: list[str], usage: str, option: str) -> None:
    done = run(*arguments, option)

    assert done.exit_code == 0
    assert f"Usage: yolov8-triton {usage}" in [line.strip() for line in done.stdout.splitlines()]


def test_help_has_the_defaults_and_the_texts_of_the_request_options() -> None:
    shown = run("segment", "--help").stdout

    for text in ("[default: yolov8n-seg]", "[default: localhost:8001]", "[default: 10.0]", "[default: 8]"):
        assert text in shown
    assert "Objects need a score" in shown


def test_help_documents_the_exit_codes() -> None:
    assert "Exit codes: 0 success, 1 some images or frames failed, 2 wrong usage" in run("--help").stdout


def test_the_version_is_that_of_the_distribution() -> None:
    assert run("--version").stdout == f"yolov8-triton {version('yolov8-triton-client')}\n"


@pytest.mark.slow
def test_the_module_runs_the_command_line(serve: Serve, photo: Path) -> None:
    command = [*MODULE, "detect", str(photo), "--url", serve().url, "--json"]

    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["task"] == "detect"


@pytest.mark.slow
def test_a_missing_extra_is_an_error_that_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError(\"No module named 'typer'\", name='typer')")
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from yolov8_triton.__main__ import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 2
    assert done.stderr == "error: this needs typer: pip install 'yolov8-triton-client[cli]'\n"
