# SPDX-License-Identifier: Apache-2.0
"""Test what the command ``cameras`` prints, how it ends, and its exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from tests.clips import clip, number_sent, numbered
from tests.fakes import fake_http, mqtt_broker
from tests.fakes.answers import arrays
from tests.fakes.fake_triton import FakeTriton, Refusal, refusing
from tests.unit.client.cli.test_cli import RUNNER
from tests.unit.client.conftest import Serve
from yolov8_contract.task import Task
from yolov8_triton._cli.app import app

COUNT = 12
FAST = '[defaults]\npace = "fast"\nin_flight = 1\n'


def described(folder: Path, *names: str, head: str = FAST, more: str = "") -> Path:
    """Write a file of cameras, each with a clip of its own."""
    tables = []
    for name in names:
        clip(folder / f"{name}.avi", numbered(COUNT))
        tables.append(f'[[camera]]\nname = "{name}"\nsource = "{name}.avi"\n{more}')
    path = folder / "cameras.toml"
    path.write_text(head + "\n".join(tables))
    return path


def ask(fake: FakeTriton, *arguments: object) -> Any:
    words = ["cameras", *map(str, arguments), "--url", fake.url]
    return RUNNER.invoke(app, words, prog_name="yolov8-triton")


def test_json_is_one_line_per_answered_frame(serve: Serve, tmp_path: Path) -> None:
    done = ask(serve(), described(tmp_path, "gate", "yard"), "--json")

    assert done.exit_code == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    for name in ("gate", "yard"):
        own = [line for line in lines if line["camera"] == name]
        assert [line["frame"] for line in own] == list(range(COUNT))
        assert {len(line["objects"]) for line in own} == {2}
        assert all(line["age_s"] > 0 for line in own)
    assert f"gate: {COUNT} frames read, {COUNT} answered, 0 dropped, age p95 " in done.stderr


def test_zones_and_lines_are_in_the_json(serve: Serve, tmp_path: Path) -> None:
    areas = (
        'tracker = "bytetrack"\nconf = 0.3\n'
        '[[camera.zones]]\nname = "all"\npoints = [[0, 0], [5000, 0], [5000, 5000], [0, 5000]]\n'
        '[[camera.lines]]\nname = "door"\nstart = [0, 0]\nend = [9, 9]\n'
    )
    done = ask(serve(), described(tmp_path, "gate", more=areas), "--json")

    last = json.loads(done.stdout.splitlines()[-1])
    assert last["zones"] == {"all": 2}
    assert last["lines"] == {"door": {"in": 0, "out": 0}}
    assert last["crossings"] == []


def test_without_json_a_table_has_a_row_for_each_camera(serve: Serve, tmp_path: Path) -> None:
    done = ask(serve(), described(tmp_path, "gate", "yard"))

    assert done.exit_code == 0
    assert "answered" in done.stdout
    assert "1 person, 1 bus" in done.stdout
    assert "ended" in done.stdout


def test_a_frame_with_an_error_is_a_line_and_exit_code_1(serve: Serve, tmp_path: Path) -> None:
    def answer(request: Any) -> dict[str, Any]:
        if number_sent(request) == 7:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "invalid image: it is number seven")
        return arrays(Task.DETECT)

    done = ask(serve(answer=answer), described(tmp_path, "gate"), "--json")

    assert done.exit_code == 1
    (wrong,) = [line for line in map(json.loads, done.stdout.splitlines()) if "error" in line]
    assert (wrong["camera"], wrong["frame"], wrong["error"]) == ("gate", 7, "InvalidImageError")
    assert "1 x InvalidImageError" in done.stderr


def test_a_wrong_file_is_wrong_usage_with_the_place(serve: Serve, tmp_path: Path) -> None:
    done = ask(serve(), described(tmp_path, "gate", more="fpps = 3\n"))

    assert done.exit_code == 2
    assert "cameras.toml: camera 'gate': no key 'fpps' is known; did you mean 'fps'?" in done.stderr


def test_a_classifier_finds_nothing_to_count(serve: Serve, tmp_path: Path) -> None:
    done = ask(serve(Task.CLASSIFY), described(tmp_path, "gate", more='tracker = "bytetrack"\n'))

    assert done.exit_code == 2
    assert "finds no objects to track or to count" in done.stderr


@pytest.mark.parametrize("text", ["no such model", "unavailable"])
def test_a_server_without_the_model_is_exit_code_3(serve: Serve, tmp_path: Path, text: str) -> None:
    fake = serve(answer=refusing(grpc.StatusCode.UNAVAILABLE, text))
    words = ["cameras", str(described(tmp_path, "gate")), "--url", fake.url, "--model", "other"]

    assert RUNNER.invoke(app, words).exit_code == 3


@contextmanager
def endless(serve: Serve, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the command with cameras that don't end, until each has a line."""
    file = described(folder, "gate", "yard", more="loop = true\n", head="")
    command = [sys.executable, "-m", "yolov8_triton", "cameras", str(file), "--json", "--url", serve().url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            seen: set[str] = set()
            while len(seen) < 2:
                seen.add(json.loads(process.stdout.readline())["camera"])
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_with_a_summary(serve: Serve, tmp_path: Path, number: signal.Signals, code: int) -> None:
    with endless(serve, tmp_path) as process:
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)

    assert process.returncode == code
    assert [line.split(":")[0] for line in stderr.splitlines()] == ["gate", "yard"]
    assert "Traceback" not in stderr


def test_results_go_to_a_webhook_and_a_broker_with_a_summary(serve: Serve, tmp_path: Path) -> None:
    taken: list[Any] = []

    def handle(request: Any) -> fake_http.Reply:
        taken.extend(json.loads(request.body))
        return 200, b""

    with fake_http.serving(handle) as address, mqtt_broker.serving() as broker:
        outputs = ["--webhook", f"http://{address}/hook", "--mqtt", f"mqtt://127.0.0.1:{broker.port}/site"]
        done = ask(serve(), described(tmp_path, "gate"), "--json", *outputs)

    assert done.exit_code == 0
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert taken == printed
    assert [(topic, json.loads(text)) for topic, text in broker.published] == [("site/gate", one) for one in printed]
    assert f"webhook: {COUNT} results sent, 0 dropped" in done.stderr
    assert f"mqtt: {COUNT} results sent, 0 dropped" in done.stderr


@pytest.mark.slow
def test_metrics_and_states_are_served_while_it_runs(serve: Serve, tmp_path: Path) -> None:
    file = described(tmp_path, "gate", more="loop = true\n", head="")
    command = [sys.executable, "-m", "yolov8_triton", "cameras", str(file), "--json", "--url", serve().url]
    with subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            url = process.stderr.readline().split()[2].removesuffix("/metrics")
            process.stdout.readline()
            assert "yolov8_camera_frames_read_total" in httpx.get(f"{url}/metrics").text
            (gate,) = httpx.get(f"{url}/cameras/state").json()["cameras"]
            assert (gate["name"], gate["state"]) == ("gate", "live")
        finally:
            process.terminate()
            process.communicate(timeout=60)

    assert process.returncode == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--listen", "9100"], "expected HOST:PORT"),
        (["--listen", "127.0.0.1:99999"], "expected HOST:PORT"),
        (["--listen", "no.such.host.invalid:0"], "no.such.host.invalid:0: "),
        (["--mqtt", "mqtt://host"], "expected a topic"),
        (["--webhook", "host"], "expected an address such as https://HOST/PATH"),
    ],
)
def test_a_wrong_output_is_wrong_usage(serve: Serve, tmp_path: Path, options: list[str], message: str) -> None:
    done = ask(serve(), described(tmp_path, "gate"), "--json", *options)

    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_a_file_that_is_missing_is_wrong_usage(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "cameras.toml"
    file.write_text('[[camera]]\nname = "gate"\nsource = "nowhere.mp4"\n')

    done = ask(serve(), file)

    assert done.exit_code == 2
    assert "camera 'gate': no such file: " in done.stderr
