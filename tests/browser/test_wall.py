# SPDX-License-Identifier: Apache-2.0
"""The wall shows the cameras of a hub: pictures with boxes, areas with counts, states in words, on all screens."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import shot
from yolov8_server._door.door import Door
from yolov8_server._door.serve import open_door
from yolov8_triton import Camera, Detections, Line, VideoInfo, Zone, hub
from yolov8_triton._cameras.wall import Wall

SIZE = (360, 640)
FPS = 8
SCREENS = {"phone": (320, 640), "laptop": (1280, 900), "4k": (3840, 2160)}
SQUARE = 90


class Walk:
    """A camera that shows a red square, which walks from left to right; after some frames it may hang."""

    def __init__(self, until: int | None = None) -> None:
        self.info = VideoInfo(width=SIZE[1], height=SIZE[0], fps=FPS, live=True)
        self._until, self._read = until, 0

    def read(self) -> Any:
        time.sleep(600 if self._until is not None and self._read >= self._until else 1 / FPS)
        self._read += 1
        picture = np.full((*SIZE, 3), (70, 60, 50), np.uint8)
        x = 20 * self._read % (SIZE[1] - SQUARE)
        picture[120 : 120 + SQUARE, x : x + SQUARE] = (40, 40, 220)
        return (self._read - 1) / FPS, picture

    def close(self) -> None:
        pass


def dead() -> Walk:
    raise OSError("rtsp://10.0.0.9/stream: no route to host")


def find(pixels: Any, **_: object) -> Detections:
    """Find the square."""
    columns = np.flatnonzero((pixels[150, :, 2] > 150) & (pixels[150, :, 0] < 60))
    box = [columns[0], 120, columns[-1] + 1, 120 + SQUARE]
    return Detections(
        xyxy=np.array([box], np.float32),
        confidence=np.array([0.9], np.float32),
        class_id=np.array([0], np.int32),
        labels=("person",),
        orig_shape=SIZE,
    )


@contextmanager
def showing(cameras: list[Camera]) -> Iterator[str]:
    """Run a hub behind a door; yield the wall's address."""
    with hub(find, cameras) as frames, closing(Wall(frames, [], host="127.0.0.1", port=0)) as wall:

        def take() -> None:
            for frame in frames:
                wall.publish(frame, json.dumps(frame.to_dict()))

        taking = threading.Thread(target=take, daemon=True)
        taking.start()
        door = Door(cameras=f"http://{wall.address}")
        with open_door(door, door.listen(), triton="127.0.0.1:1", headers={}) as url:
            yield f"{url.rstrip('/')}/wall.html"
        frames.close()
        taking.join(5)


@pytest.fixture(scope="module")
def wall_url() -> Iterator[str]:
    gate = Camera(
        name="gate & drive/1",
        source=Walk,
        tracker="bytetrack",
        zones=[Zone(name="drive", points=[(60, 60), (300, 60), (300, 300), (60, 300)])],
        lines=[Line(name="door", start=(420, 20), end=(420, 340))],
    )
    more = [Camera(name=f"yard {number}", source=Walk) for number in range(4)]
    broken = [Camera(name="cellar", source=dead), Camera(name="roof", source=lambda: Walk(until=6))]
    with showing([gate, *more, *broken]) as url:
        yield url


@pytest.fixture
def page(browser: Browser, wall_url: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The wall in a fresh profile; no script fails, and nothing leaves its origin."""
    width, height = SCREENS[getattr(request, "param", "laptop")]
    complaints: list[str] = []
    with browser.new_context(viewport={"width": width, "height": height}) as context:
        opened = context.new_page()
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        origin = wall_url.rpartition("/")[0]
        context.on(
            "request", lambda asked: None if asked.url.startswith((origin, "blob:")) else complaints.append(asked.url)
        )
        opened.goto(wall_url)
        expect(opened.locator(".camera")).to_have_count(7)
        yield opened
        assert complaints == []


def card(page: Page, name: str) -> Any:
    return page.locator(".camera", has=page.get_by_text(name, exact=True))


def test_each_camera_has_its_state_in_words_and_its_figures(page: Page) -> None:
    expect(card(page, "yard 0").locator(".state")).to_have_text("live")
    expect(card(page, "roof").locator(".state")).to_have_text("stale")
    expect(card(page, "roof").locator(".message")).to_contain_text("no frame for")
    expect(card(page, "cellar").locator(".state")).to_have_text(re.compile("reconnecting|dead"))
    expect(card(page, "cellar").locator(".message")).to_contain_text("no route to host")
    expect(card(page, "yard 0").locator(".meter")).to_contain_text(" ms")
    expect(page.locator("#overview")).to_have_text(re.compile("7 cameras: 5 live, 1 (reconnecting|dead), 1 stale"))


def test_pictures_have_the_boxes_of_their_own_frame_and_areas_their_counts(page: Page) -> None:
    gate = card(page, "gate & drive/1")
    expect(gate.locator("canvas")).to_have_attribute("aria-label", "gate & drive/1: 1 person")
    expect(gate.locator(".areas")).to_contain_text("drive: 1 inside")
    expect(gate.locator(".areas")).to_contain_text(re.compile(r"door: [1-9]\d* in"))
    # The box is drawn around the square of the same picture: no row through it has the square outside of the box.
    offset = page.evaluate(
        """() => {
          const canvas = [...document.querySelectorAll("canvas")][1];
          const context = canvas.getContext("2d", { alpha: false });
          const y = Math.round(canvas.height * 170 / 360);
          const row = context.getImageData(0, y, canvas.width, 1).data;
          const at = (x) => [row[4 * x], row[4 * x + 1], row[4 * x + 2]];
          let red = -1, box = -1;
          for (let x = 0; x < canvas.width; x++) {
            const [r, g, b] = at(x);
            if (box < 0 && (Math.abs(r - 50) > 60 || Math.abs(b - 70) > 60)) box = x;
            if (red < 0 && r > 195 && g < 60 && b < 60) red = x;
          }
          return (red - box) * 640 / canvas.width;
        }"""
    )
    assert 0 <= offset < 8


@pytest.mark.parametrize("page", SCREENS, indirect=True)
def test_nothing_is_wider_than_the_screen_and_axe_finds_nothing(page: Page) -> None:
    expect(card(page, "yard 3").locator(".state")).to_have_text("live")
    expect(card(page, "roof").locator(".state")).to_have_text("stale")
    width = page.viewport_size["width"] if page.viewport_size else 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width == SCREENS["4k"][0]:
        last = card(page, "roof").bounding_box()
        assert SCREENS["4k"][1] * 0.6 < last["y"] + last["height"] <= SCREENS["4k"][1]
    page.wait_for_timeout(1500)  # pictures of the new size
    shot(page, f"wall-{width}")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found = Axe().run(page).response["violations"]
        assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
    shot(page, f"wall-{width}-dark")


def test_a_camera_is_enlarged_by_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # skip to the cameras
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    large = page.locator(".camera.large")
    expect(large).to_have_count(1)
    expect(large.locator("canvas")).to_have_attribute("aria-label", "gate & drive/1: 1 person")
    shot(page, "wall-enlarged")
    page.keyboard.press("Escape")
    expect(large).to_have_count(0)


def test_a_hub_that_goes_away_is_told(browser: Browser) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        with showing([Camera(name="one", source=Walk)]) as url:
            page.goto(url)
            expect(page.locator(".camera")).to_have_count(1)
        expect(page.locator("#error")).to_contain_text("No news of the cameras")


def test_a_server_without_cameras_says_what_to_do(browser: Browser) -> None:
    door = Door()
    with (
        open_door(door, door.listen(), triton="127.0.0.1:1", headers={}) as url,
        browser.new_context() as context,
    ):
        page = context.new_page()
        page.goto(f"{url.rstrip('/')}/wall.html")
        expect(page.locator("#error")).to_contain_text("start it with --playground-cameras ADDRESS")
        expect(page.locator("#overview")).to_have_text("no cameras")
