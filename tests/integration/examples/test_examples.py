# SPDX-License-Identifier: Apache-2.0
"""Every example runs, against a real server."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clips import clip, read
from tests.coco import average_precision, write_scenes
from tests.data import shapes
from yolov8_server import TritonServer

EXAMPLES = Path(__file__).parents[3] / "examples"
MODEL = "shapes-detect"
SEED = 70_000
TILE = shapes.DEFAULT_SIZE[0]


def run(script: str, *arguments: object, server: TritonServer, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(EXAMPLES / script), *map(str, arguments)]
    command += ["--url", server.grpc_url, "--model", MODEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def scene(path: Path, seed: int) -> shapes.Scene:
    drawn = shapes.scene(seed, "detect")
    cv2.imwrite(str(path), drawn.image)
    return drawn


def test_the_table_has_every_script_and_each_says_how_it_is_used() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")} | {"driving/drive.py"}

    assert set(re.findall(r"\]\(([\w/]+\.py)\)", (EXAMPLES / "README.md").read_text())) == scripts
    for name in scripts:
        assert f"python examples/{name} " in (text := (EXAMPLES / name).read_text()) or "uvicorn" in text


def test_detect_image(server: TritonServer, tmp_path: Path) -> None:
    drawn = scene(tmp_path / "scene.png", SEED)

    done = run("detect_image.py", tmp_path / "scene.png", "--output", tmp_path / "found.jpg", server=server)

    assert len(done.stdout.splitlines()) == 1 + len(drawn.shapes)
    assert cv2.imread(str(tmp_path / "found.jpg")).shape == drawn.image.shape


def test_detect_image_says_what_is_wrong_with_one(server: TritonServer, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")

    done = run("detect_image.py", tmp_path / "bad.jpg", server=server, code=2)

    assert "invalid image" in done.stderr


def test_detect_async(server: TritonServer, tmp_path: Path) -> None:
    paths = [tmp_path / f"{seed}.png" for seed in range(6)]
    for seed, path in enumerate(paths):
        scene(path, SEED + seed)

    done = run("detect_async.py", *paths, tmp_path / "missing.png", server=server, code=1)

    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [str(path) for path in paths]
    assert done.stderr.startswith(str(tmp_path / "missing.png"))


def test_track_video(server: TritonServer, tmp_path: Path) -> None:
    """One scene that moves: its shapes are as many as were followed."""
    drawn = shapes.scene(SEED, "detect")
    frames = [np.roll(drawn.image, step, axis=1) for step in range(12)]
    path = clip(tmp_path / "moving.avi", frames)

    done = run("track_video.py", path, "--output", tmp_path / "followed.mp4", server=server)

    inside = [one for one in drawn.shapes if one.xyxy[2] < TILE - 12]  # never cut in two by the frame's border
    first, *followed = done.stdout.splitlines()
    assert first.endswith("objects, 12 frames, 0 dropped")
    assert len(inside) >= 1
    assert len(inside) <= len(followed) <= 2 * len(drawn.shapes)
    assert len(read(tmp_path / "followed.mp4")) == 12


def test_folder_to_coco(server: TritonServer, tmp_path: Path) -> None:
    """Objects that are found are where the annotations say, so average precision is what the weights reach."""
    write_scenes(tmp_path, SEED, 20)
    truth = tmp_path / "instances.json"

    run("folder_to_coco.py", tmp_path / "images", truth, tmp_path / "results.json", server=server)

    assert average_precision(truth, tmp_path / "results.json") > 0.8


def test_sliced(server: TritonServer, tmp_path: Path) -> None:
    """A wall of scenes: each shape is found once, also those that lie on the border of a tile."""
    rows, columns = 3, 4
    image = np.zeros((rows * TILE, columns * TILE, 3), np.uint8)
    boxes = []
    for number in range(rows * columns):
        drawn = shapes.scene(SEED + number, "detect")
        y, x = (number // columns) * TILE, (number % columns) * TILE
        image[y : y + TILE, x : x + TILE] = drawn.image
        boxes += [one.xyxy + np.array([x, y, x, y]) for one in drawn.shapes]
    cv2.imwrite(str(tmp_path / "wall.png"), image)
    options = ("--tile", 220, "--overlap", 80, "--conf", 0.5, "--output", tmp_path / "sliced.png")

    done = run("sliced.py", tmp_path / "wall.png", *options, server=server)

    whole, tiles = (sum(map(int, re.findall(r"(\d+) ", line.split(":")[1]))) for line in done.stdout.splitlines())
    print(done.stdout, len(boxes))
    assert whole < len(boxes) / 2 < tiles
    assert tiles == pytest.approx(len(boxes), rel=0.15)
    assert cv2.imread(str(tmp_path / "sliced.png")).shape == image.shape


def test_trace_request_says_in_a_line_that_no_server_answers(tmp_path: Path) -> None:
    scene(tmp_path / "scene.png", SEED)
    command = [
        sys.executable,
        str(EXAMPLES / "trace_request.py"),
        str(tmp_path / "scene.png"),
        "--listen",
        "127.0.0.1:0",
    ]

    done = subprocess.run([*command, "--url", "127.0.0.1:1"], capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 1
    assert re.fullmatch(r"error: model 'yolov8n' at 127\.0\.0\.1:1: .*\n", done.stderr)


def test_trace_request(detector_repository: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*probe.getsockname())
    url = f"opentelemetry,url=http://{address}/v1/traces"
    settings = ["mode=opentelemetry", "rate=1", "level=TIMESTAMPS", url, "opentelemetry,bsp_schedule_delay=200"]
    arguments = [f"--trace-config={setting}" for setting in settings]
    scene(tmp_path / "scene.png", SEED)

    with TritonServer(detector_repository, arguments=arguments) as server:
        done = run("trace_request.py", tmp_path / "scene.png", "--listen", address, server=server)

    _, call, request, ensemble, *members = (line.split() for line in done.stdout.splitlines())
    assert [row[1] for row in (request, ensemble, *members)] == [
        "request", MODEL, *(f"{MODEL}_{member}" for member in ("preprocess", "network", "postprocess"))
    ]  # fmt: skip
    starts = [float(row[0]) for row in members]
    assert starts == sorted(starts)
    # A member's span may end after the next one has begun, and the request's after its answer has arrived.
    assert 0 <= starts[0] <= starts[-1] <= float(ensemble[0]) + float(ensemble[2])
    assert all(float(row[2]) > 0 for row in (request, ensemble, *members))
    assert float(call[-1]) > 0
    assert all(float(queue) + float(work) <= float(total) for _, _, total, queue, work in members)
