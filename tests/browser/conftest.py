# SPDX-License-Identifier: Apache-2.0
"""A real Chromium shows the page of a real server with a model of each task; `make test-browser` installs its needs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.data import shapes
from tests.integration.conftest import DATA, repository
from yolov8_export.config.deployment import Deployment
from yolov8_export.overrides import ModelOverrides
from yolov8_export.pipeline import export
from yolov8_export.repository.layout import Target
from yolov8_server import TritonServer
from yolov8_server._door.door import Door
from yolov8_server._door.serve import open_door
from yolov8_triton import Client

__all__ = ["repository"]

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
)  # fmt: skip
SHOTS = Path(os.environ.get("SHOTS", "build/browser-shots"))
SIZE = (480, 640)
CUT, CHOSEN = "shapes-cut", "shapes-chosen"
SEEDS = {"detect": 3, "segment": 15, "pose": 5, "obb": 3, "classify": 3}
CAMERA_FPS, CAMERA_SIZE, CAMERA_FRAMES = 60, (240, 320), 30
WAIT_MS = 30_000

Pixels = npt.NDArray[np.uint8]
expect.set_options(timeout=WAIT_MS)


@dataclass
class Playground:
    """A page that shows the playground, with what it asked for and what it complained about."""

    page: Page
    url: str
    grpc_url: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def choose(self, task: str) -> None:
        self.page.select_option("#model", f"shapes-{task}")

    def upload(self, task: str) -> Path:
        """Choose a task's model and upload its picture; return the picture's file when it is answered."""
        file = picture(task)
        self.choose(task)
        self.page.set_input_files("#file", file)
        self.wait_for_answer()
        return file

    def wait_for_answer(self) -> None:
        expect(self.page.locator("#summary")).not_to_be_empty()
        expect(self.page.locator("#error")).to_be_empty()

    def answer(self) -> str:
        self.page.click("#tab-answer")
        return self.page.inner_text("#snippet")

    def slide(self, name: str, value: float) -> None:
        """Move a slider as a person's drag ends."""
        self.page.locator(f"#{name}").fill(str(value))

    def client(self, task: str) -> Client:
        return Client(self.grpc_url, model=f"shapes-{task}")

    def strangers(self) -> list[str]:
        """Return the requests that went anywhere but to the page's own origin."""
        own = urlsplit(self.url).netloc
        return [
            url for url in self.requests if urlsplit(url).scheme not in ("blob", "data") and urlsplit(url).netloc != own
        ]


FILES = Path("build/browser-files")


def scene(task: str) -> Pixels:
    (known,) = (name for name in shapes.TASKS if name == task)
    drawn: Pixels = shapes.scene(SEEDS[task], known, size=SIZE).image
    return drawn


def picture(task: str) -> Path:
    """Return a PNG with a scene of a task."""
    FILES.mkdir(parents=True, exist_ok=True)
    path = FILES / f"{task}.png"
    cv2.imwrite(str(path), scene(task))
    return path


def moving(size: tuple[int, int] = CAMERA_SIZE) -> Iterator[Pixels]:
    """Yield frames of a scene that moves to the right."""
    drawn = shapes.scene(11, "detect", size=size).image
    for number in range(CAMERA_FRAMES):
        yield np.roll(drawn, 2 * number, axis=1)


def write_camera(path: Path, size: tuple[int, int]) -> None:
    """Write a video for Chromium's fake camera, in YUV4MPEG2."""
    height, width = size
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F{CAMERA_FPS}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in moving(size):
            file.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes())


@pytest.fixture(scope="session")
def camera_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The video that Chromium's fake camera shows."""
    path = tmp_path_factory.mktemp("camera") / "camera.y4m"
    write_camera(path, CAMERA_SIZE)
    return path


@pytest.fixture(scope="session")
def video_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a video in WebM, which every Chromium plays."""
    path = tmp_path_factory.mktemp("video") / "moving.webm"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libvpx", rate=10)
        stream.height, stream.width = CAMERA_SIZE
        stream.pix_fmt = "yuv420p"
        for frame in moving():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "bgr24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def served(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TritonServer, str]]:
    """A server with a model for each task, `CUT`, which cuts pictures into tiles, and `CHOSEN`, which needs no NMS."""
    folder = tmp_path_factory.mktemp("served") / "repository"
    shutil.copytree(repository, folder)
    cutting = Deployment(max_slices=64)
    export(DATA / "shapes-detect.pt", Target(repository=folder, name=CUT), deployment=cutting)
    chosen = ModelOverrides(head="one2one")
    export(DATA / "shapes-yolo26-detect.pt", Target(repository=folder, name=CHOSEN), overrides=chosen)
    samples = tmp_path_factory.mktemp("samples")
    (samples / "a scene & more.png").write_bytes(picture("detect").read_bytes())
    door = Door(samples=samples)
    listener = door.listen()
    with (
        TritonServer(folder, stop_timeout_s=0) as server,
        open_door(door, listener, triton=server.http_url, headers=server.http_headers) as url,
    ):
        yield server, url


@pytest.fixture(scope="session")
def browser(camera_file: Path) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        flags = [*FLAGS, f"--use-file-for-fake-video-capture={camera_file}"]
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield launched
        launched.close()


@pytest.fixture
def settings() -> dict[str, Any]:
    """The settings of the browser's context; tests override them."""
    return {"viewport": {"width": 1280, "height": 900}}


@pytest.fixture
def playground(served: tuple[TritonServer, str], browser: Browser, settings: dict[str, Any]) -> Iterator[Playground]:
    """The page in a fresh profile. At the end, nothing has left its origin, and no script has failed."""
    server, url = served
    with browser.new_context(**settings, permissions=["clipboard-read", "clipboard-write"]) as context:
        page = context.new_page()
        opened = Playground(page, url, server.grpc_url)
        context.on("request", lambda request: opened.requests.append(request.url))
        page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        page.on(
            "console", lambda said: opened.complaints.append(said.text) if "Content Security" in said.text else None
        )
        page.goto(url)
        expect(page.locator("#model")).to_be_enabled()
        yield opened
        assert opened.strangers() == []
        assert opened.complaints == []


def shot(page: Page, name: str) -> None:
    """Keep a picture of the page for people to look at."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)
