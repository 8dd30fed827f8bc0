# SPDX-License-Identifier: Apache-2.0
"""Test images on the command line: patterns, stdin, lists, several servers, the progress bar."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
from PIL import Image

from tests.fakes.answers import HEIGHT, WIDTH, arrays
from tests.fakes.fake_triton import FakeTriton, Refusal
from tests.processes import rest
from tests.unit.client.cli.test_cli import MODULE, RUNNER
from tests.unit.client.conftest import Serve
from yolov8_contract.task import Task
from yolov8_triton import Client, Detections
from yolov8_triton._cli.app import app


def ask(fake: FakeTriton, *arguments: object, verb: str = "detect", stdin: bytes = b"") -> Any:
    words = [verb, *map(str, arguments), "--url", fake.url, "--model", "yolov8n"]
    return RUNNER.invoke(app, words, prog_name="yolov8-triton", input=stdin)


def asked(done: Any) -> list[str]:
    return [json.loads(line)["image"] for line in done.stdout.splitlines()]


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), "grey").save(path)
    return path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        pytest.param("*.png", ["a.png", "b.png"], id="star"),
        pytest.param("**/*.png", ["a.png", "b.png", "in/c.png", "in/deep/d.png"], id="any-depth"),
        pytest.param("[ab].png", ["a.png", "b.png"], id="set"),
        pytest.param("in/?.png", ["in/c.png"], id="one-letter"),
    ],
)
def test_a_quoted_pattern_stands_for_the_files_that_it_matches_sorted_by_name(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, found: list[str]
) -> None:
    for name in ("in/deep/d.png", "b.png", "a.png", "in/c.png"):
        picture(tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path)

    assert asked(ask(serve(), pattern, "--json")) == found


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(serve: Serve, tmp_path: Path) -> None:
    path = picture(tmp_path / "[1].png")

    assert asked(ask(serve(), path, "--json")) == [str(path)]


def test_a_pattern_that_matches_nothing_is_an_error(serve: Serve, tmp_path: Path) -> None:
    done = ask(serve(), tmp_path / "*.png", "--json")

    assert done.exit_code == 1
    assert done.stderr == f"error: {tmp_path / '*.png'}: no file has this name or matches this pattern\n"


@pytest.mark.parametrize("more", [False, True], ids=["alone", "beside-an-image"])
def test_a_folder_without_images_is_an_error(serve: Serve, photo: Path, tmp_path: Path, more: bool) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no image")

    done = ask(serve(), tmp_path / "empty", *[photo] * more, "--json")

    assert asked(done) == [str(photo)] * more
    assert (done.exit_code, done.stderr) == (1, f"error: {tmp_path / 'empty'}: no images in this folder\n")


def test_an_image_is_read_from_stdin(serve: Serve, photo: Path, tmp_path: Path) -> None:
    fake = serve()

    done = ask(fake, "-", "--json", "--output", tmp_path / "out", stdin=photo.read_bytes())

    assert asked(done) == ["-"]
    assert fake.requests[0].raw_input_contents[0] == photo.read_bytes()
    with Image.open(tmp_path / "out" / "stdin.jpg") as drawn:
        assert drawn.size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("where", ["stdin", "file"])
def test_a_list_of_paths_is_read_from_a_file_or_stdin(serve: Serve, tmp_path: Path, where: str) -> None:
    paths = [str(picture(tmp_path / name)) for name in ("a b.png", "c.png", "d.png")]
    text = f"{paths[1]}\n\n{paths[2]}\r\n"
    (tmp_path / "list.txt").write_text(text)
    listed = "-" if where == "stdin" else tmp_path / "list.txt"

    done = ask(serve(), paths[0], "--files-from", listed, "--json", stdin=text.encode())

    assert asked(done) == paths


@pytest.mark.parametrize("text", ["", "\n\r\n"], ids=["empty", "empty-lines"])
def test_a_list_without_paths_is_an_error(serve: Serve, text: str) -> None:
    done = ask(serve(), "--files-from", "-", "--json", stdin=text.encode())

    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "error: --files-from: no paths in this list\n"


def test_several_requests_are_in_flight(serve: Serve, photo: Path) -> None:
    together = threading.Barrier(3)

    def answer(_: object) -> dict[str, Any]:
        together.wait(60)  # no answer before three requests have arrived
        return arrays(Task.DETECT)

    assert ask(serve(answer=answer), *[photo] * 6, "--in-flight", 3).exit_code == 0


def test_requests_have_the_priority_that_was_asked_for(serve: Serve, photo: Path) -> None:
    fake = serve(priority_levels=2)

    assert ask(fake, photo, "--priority", 1).exit_code == 0
    assert fake.requests[0].parameters["priority"].int64_param == 1


def test_a_priority_that_the_model_has_not_is_wrong_usage(serve: Serve, photo: Path) -> None:
    done = ask(serve(), photo, "--priority", 1)

    assert done.exit_code == 2
    assert "has no priority levels" in done.stderr


def test_headers_are_sent_with_every_request(serve: Serve, photo: Path) -> None:
    fake = serve()

    done = ask(fake, photo, "--header", "Authorization=Bearer a=b", "--header", "x-team=vision")

    assert done.exit_code == 0
    assert fake.headers[0]["authorization"] == "Bearer a=b"
    assert fake.headers[0]["x-team"] == "vision"


def test_a_header_without_a_value_is_refused_and_not_shown(serve: Serve, photo: Path) -> None:
    done = ask(serve(), photo, "--header", "secret")

    assert done.exit_code == 2
    assert "expected NAME=VALUE" in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("how", ["options", "variable"])
def test_several_servers_are_used_in_turn(serve: Serve, photo: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = serve(), serve()
    words = ["detect", *[str(photo)] * 6]
    if how == "options":
        words += ["--url", first.url, "--url", second.url]
    else:
        monkeypatch.setenv("YOLOV8_TRITON_URL", f"{first.url} {second.url}")

    assert RUNNER.invoke(app, words).exit_code == 0

    assert len(first.requests) + len(second.requests) == 6
    assert min(len(first.requests), len(second.requests)) >= 2


@pytest.mark.slow
def test_an_interrupted_run_prints_whole_lines_and_leaves_no_files(serve: Serve, tmp_path: Path) -> None:
    for index in range(200):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / f"{index:03}.png").write_bytes(b"%d" % index)
    some, over = threading.Event(), threading.Event()

    def answer(request: Any) -> dict[str, Any]:
        if int(bytes(request.raw_input_contents[0])) >= 100:
            some.set()
            over.wait(60)
        return arrays(Task.DETECT)

    fake = serve(answer=answer)
    command = [*MODULE, "detect", str(tmp_path / "photos"), "--url", fake.url, "--json", "--timeout", "60"]
    command += ["--coco", str(tmp_path / "out.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(50)]
            assert some.wait(60)
            process.send_signal(signal.SIGINT)
            others, errors = rest(process, 20)
        finally:
            process.kill()
            over.set()

    assert (process.returncode, errors) == (130, "error: interrupted\n")
    images = [json.loads(line)["image"] for line in [*lines, *others.splitlines()]]  # whole lines, in order
    assert images == [str(tmp_path / "photos" / f"{index:03}.png") for index in range(len(images))]
    assert 50 <= len(images) <= 100
    assert not list(tmp_path.glob("out.json*"))


@pytest.mark.slow
def test_a_terminal_shows_a_progress_bar_with_rate_and_remaining_time(serve: Serve, photo: Path) -> None:
    def answer(request: Any) -> dict[str, Any]:
        if not request.raw_input_contents[0]:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "invalid image: empty")
        threading.Event().wait(0.05)
        return arrays(Task.DETECT)

    seen, done = on_a_terminal(["detect", *[str(photo)] * 20, "--url", serve(answer=answer).url, "--json"])

    assert done == 0
    assert "images" in seen
    assert "/20" in seen
    assert "a second" in seen
    assert "left" in seen


def on_a_terminal(arguments: list[str]) -> tuple[str, int]:
    """Run the command with stderr on a terminal of 120 columns, and stdout in a pipe, which stays clean."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "120", "TERM": "xterm"}
    with subprocess.Popen([*MODULE, *arguments], stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        lines = threading.Thread(target=lambda: read_lines(process.stdout))
        lines.start()
        seen = io.BytesIO()
        try:
            while content := os.read(ours, 4096):
                seen.write(content)
        except OSError:  # Linux reports the closed side so
            pass
        finally:
            os.close(ours)
        lines.join(20)
        return seen.getvalue().decode(), process.wait(20)


def read_lines(stdout: Any) -> None:
    for line in stdout:
        json.loads(line)


def turned_webp(path: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT), "grey").save(path, exif=exif)
    return path


def test_a_picture_has_the_orientation_that_the_server_saw(serve: Serve, tmp_path: Path) -> None:
    done = ask(serve(), turned_webp(tmp_path / "phone.webp"), "--output", tmp_path / "out")

    assert (done.exit_code, done.stderr) == (0, "")
    with Image.open(tmp_path / "out" / "phone.jpg") as drawn:
        assert drawn.size == (WIDTH, HEIGHT)


def of_another_size(path: Path) -> Path:
    Image.new("RGB", (WIDTH + 1, HEIGHT)).save(path)
    return path


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(of_another_size, "the result belongs to an image of 100 x 60 pixels", id="other-size"),
        pytest.param(lambda path: path.write_bytes(b"no image") and path, "no image format", id="no-picture"),
        pytest.param(pipe, "not a regular file but a pipe", id="pipe"),
        pytest.param(lambda _: "https://example.org/a.png", "is a URL, which is not fetched", id="url"),
        pytest.param(lambda _: "/dev/zero", "not a regular file", id="device"),
    ],
)
def test_whatever_one_image_causes_the_others_are_answered_and_the_exit_code_says_so(
    serve: Serve, photo: Path, tmp_path: Path, make: Any, message: str
) -> None:
    bad = make(tmp_path / "bad.png")

    done = ask(serve(), photo, bad, photo, "--output", tmp_path / "out", "--json")

    assert done.exit_code == 1
    assert [path for path in asked(done) if path == str(photo)] == [str(photo)] * 2
    assert done.stderr.startswith(f"error: {bad}: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert len(list((tmp_path / "out").iterdir())) >= 2


@pytest.mark.parametrize("error", [MemoryError("too large"), ValueError("odd"), RecursionError("deep")], ids=repr)
def test_an_error_that_nobody_expected_belongs_to_its_image(
    serve: Serve, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    other = picture(tmp_path / "other.png")

    def detect(_: Client, image: Any, **options: Any) -> Any:  # noqa: ARG001
        if image == str(photo):
            raise error
        return Detections.empty(orig_shape=(HEIGHT, WIDTH))

    monkeypatch.setattr(Client, "detect", detect)

    done = ask(serve(), photo, other, "--json")

    assert (done.exit_code, asked(done)) == (1, [str(other)])
    assert done.stderr == f"error: {photo}: {type(error).__name__}: {error}; please report this\n"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["argument", "list"])
@pytest.mark.parametrize("options", [["--json"], []], ids=["json", "table"])
def test_a_name_that_is_no_text_is_an_image_like_others(
    serve: Serve, tmp_path: Path, how: str, options: list[str]
) -> None:
    name = os.fsencode(tmp_path) + b"/\xff.png"
    picture(tmp_path / "a.png").rename(os.fsdecode(name))
    (tmp_path / "list.txt").write_bytes(name + b"\n")
    command = [*map(os.fsencode, [*MODULE, "detect", "--url", serve().url, *options])]
    command += [name] if how == "argument" else [b"--files-from", os.fsencode(tmp_path / "list.txt")]

    done = subprocess.run(command, capture_output=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\udcff.png" in done.stdout
    if options:
        assert json.loads(done.stdout)["image"] == os.fsdecode(name)


def test_a_picture_never_overwrites_another_image_of_the_run(serve: Serve, tmp_path: Path) -> None:
    first, second = picture(tmp_path / "a" / "x.png"), picture(tmp_path / "b" / "x.jpg")
    before = second.read_bytes()

    done = ask(serve(), first, second, "--output", tmp_path / "b")

    assert done.exit_code == 1
    assert f"{first}: the annotated picture would overwrite the image {second}; use another folder" in done.stderr
    assert second.read_bytes() == before
