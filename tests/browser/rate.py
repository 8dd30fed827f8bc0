# SPDX-License-Identifier: Apache-2.0
"""Compare the page's overlays a second with the Python client's: ``build/browser/bin/python -m tests.browser.rate``.

Both see the same camera of 60 frames a second, keep two requests in flight, send the newest frame, and draw each
answer. They take turns on one server. Its network takes a fixed time by default, as one on another machine would, so
that the page and the network don't compete for this machine's cores; with ``--network-ms 0`` it is a real one.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser.conftest import CAMERA_FPS, CHROMIUM, FLAGS, moving, write_camera
from tests.data import shapes
from tests.fixed_time import replace_network
from yolov8_export import ModelOverrides, Target, export
from yolov8_server import TritonServer
from yolov8_server._door.door import Door
from yolov8_server._door.serve import open_door
from yolov8_triton import Client, VideoInfo, video

WEIGHTS = Path(shapes.__file__).parent / "shapes-detect.pt"
MODEL = "shapes-detect"
SIZE = (480, 640)
WARM_UP_S = 2.0


class Camera:
    """A source that shows frames in real time, and loses those that nobody reads."""

    def __init__(self) -> None:
        self._frames = list(moving(SIZE))
        self._began = time.monotonic()
        self._shown = -1
        self.info = VideoInfo(width=SIZE[1], height=SIZE[0], fps=CAMERA_FPS, live=True)

    def read(self) -> tuple[float, npt.NDArray[np.uint8]]:
        """Wait for the next frame and return it."""
        self._shown = max(self._shown + 1, int((time.monotonic() - self._began) * CAMERA_FPS))
        time.sleep(max(0.0, self._began + self._shown / CAMERA_FPS - time.monotonic()))
        return self._shown / CAMERA_FPS, self._frames[self._shown % len(self._frames)]

    def close(self) -> None:
        """Release nothing."""


def by_client(client: Client, seconds: float) -> float:
    """Return how many frames a second the client answers and draws."""
    count, began = 0, 0.0
    with video(client.detect, Camera(), frames="newest", in_flight=2) as frames:
        start = time.monotonic()
        for frame in frames:
            frame.draw()
            now = time.monotonic()
            if not began:
                began = now if now - start > WARM_UP_S else 0.0
                continue
            count += 1
            if now - began > seconds:
                return count / (now - began)
    raise AssertionError("the camera ended")


def by_page(page: Page, seconds: float) -> float:
    """Return how many frames a second the page is answered; it draws each of them."""
    answered: list[float] = []
    page.on("requestfinished", lambda one: answered.append(time.monotonic()) if one.url.endswith("/infer") else None)
    page.click("#camera")
    expect(page.locator("#meter")).to_contain_text("Frames a second")
    page.wait_for_timeout(1000 * WARM_UP_S)
    answered.clear()
    page.wait_for_timeout(1000 * seconds)
    count, span = len(answered) - 1, answered[-1] - answered[0]
    page.click("#stop")
    assert page.inner_text("#error") == ""
    return count / span


def compare(rounds: int, seconds: float, network_ms: float) -> None:
    """Print the rates of each round, and the ratio of their medians."""
    with tempfile.TemporaryDirectory() as folder:
        repository, camera = Path(folder) / "repository", Path(folder) / "camera.y4m"
        export(WEIGHTS, Target(repository=repository, name=MODEL), overrides=ModelOverrides(imgsz=(640, 640)))
        if network_ms:
            replace_network(repository, MODEL, seconds=network_ms / 1000)
        write_camera(camera, SIZE)
        door = Door()
        listener = door.listen()
        with (
            TritonServer(repository) as server,
            open_door(door, listener, triton=server.http_url, headers=server.http_headers) as url,
            Client(server.grpc_url, model=MODEL) as client,
            sync_playwright() as playwright,
        ):
            flags = [*FLAGS, f"--use-file-for-fake-video-capture={camera}"]
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            page.goto(url)
            expect(page.locator("#model")).to_be_enabled()
            rates = []
            for number in range(rounds):
                theirs, ours = by_client(client, seconds), by_page(page, seconds)
                rates.append((theirs, ours))
                print(f"round {number + 1}: client {theirs:.1f}, page {ours:.1f} frames a second", flush=True)
            browser.close()
    theirs, ours = (statistics.median(values) for values in zip(*rates, strict=True))
    print(f"page / client: {ours / theirs:.2f}, the medians of {rounds} rounds: {ours:.1f} / {theirs:.1f}")
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=8, help="length of each turn")
    parser.add_argument("--network-ms", type=float, default=40, help="time that the network takes; 0 for a real one")
    options = parser.parse_args()
    compare(options.rounds, options.seconds, options.network_ms)
