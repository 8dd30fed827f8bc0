# SPDX-License-Identifier: Apache-2.0
"""What the page shows of each task is what the Python client says and draws."""

from __future__ import annotations

import base64
import json
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Pixels, Playground, scene, shot
from tests.data import shapes
from yolov8_triton import draw

REACH = 8.0
"""Pixels of the image on both sides of an edge in which its line is searched."""
CHANGED = 60
"""Sum of the differences of R, G and B from which on a pixel counts as drawn on."""
AT = 0.8
"""Where a side of a box is looked at: beside the labels, which begin at its left end."""


def drawn_on(image: Pixels, plain: Pixels) -> npt.NDArray[np.float64]:
    """Return 1 where an image was drawn on, else 0."""
    return (np.abs(image.astype(int) - plain.astype(int)).sum(axis=2) > CHANGED).astype(float)


def canvas(playground: Playground) -> Pixels:
    url = playground.page.evaluate("document.getElementById('canvas').toDataURL()")
    encoded = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def overlay(playground: Playground, task: str) -> tuple[npt.NDArray[np.float64], float]:
    """Return where the page's canvas is drawn on, and its pixels for a pixel of the image."""
    shown = canvas(playground)
    playground.slide("conf", 1)
    expect(playground.page.locator("#summary")).to_have_text("No objects.")
    return drawn_on(shown, canvas(playground)), shown.shape[1] / scene(task).shape[1]


def line(mask: npt.NDArray[np.float64], point: Any, normal: Any, scale: float) -> float:
    """Return how far the middle of the nearest line lies from a point along the normal, in pixels of the image."""
    offsets = np.linspace(-REACH, REACH, 321)
    places = (np.asarray(point) + offsets[:, np.newaxis] * np.asarray(normal)) * scale - 0.5
    values = cv2.remap(mask, places[:, 0].astype(np.float32), places[:, 1].astype(np.float32), cv2.INTER_LINEAR).ravel()
    inside = np.flatnonzero(values > 0.5)
    assert len(inside), f"no line near {point}"
    lines = np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1)  # another object's side may be near
    return min((float(offsets[one].mean()) for one in lines), key=abs)


def sides(corners: Any) -> list[tuple[Any, Any]]:
    """Return a point on each side of a polygon, and the direction across the side."""
    found = []
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        along = (end - start) / np.linalg.norm(end - start)
        point = max((start + AT * (end - start), end + AT * (start - end)), key=lambda place: place[0])
        found.append((point, np.array([-along[1], along[0]])))
    return found


def corners_of(task: str, found: Any) -> list[Any]:
    if task == "obb":
        return list(found.xyxyxyxy.astype(float))
    return [np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], float) for x1, y1, x2, y2 in found.xyxy]


@pytest.mark.parametrize("task", shapes.TASKS)
def test_the_answer_is_the_clients_to_the_last_digit(playground: Playground, task: str) -> None:
    file = playground.upload(task)
    with playground.client(task) as client:
        expected = getattr(client, task)(file).to_dict()

    answer = json.loads(playground.answer())
    for ours, theirs in zip(answer.get("objects", []), expected.get("objects", []), strict=True):
        if task == "obb":  # computed, and not rounded to 32 bits in between
            assert np.array(ours.pop("xyxyxyxy")) == pytest.approx(np.array(theirs.pop("xyxyxyxy")), abs=1e-3)
    assert answer == json.loads(json.dumps(expected))
    assert expected.get("objects") or expected.get("top")
    playground.page.click("#tab-curl")
    shot(playground.page, task)


@pytest.mark.parametrize("task", ["detect", "obb", "pose"])
def test_boxes_are_where_the_client_draws_them(playground: Playground, task: str) -> None:
    file = playground.upload(task)
    with playground.client(task) as client:
        found = getattr(client, task)(file)
    theirs = drawn_on(np.asarray(draw(file, found))[..., ::-1].astype(np.uint8), scene(task))
    ours, scale = overlay(playground, task)

    places = [place for corners in corners_of(task, found) for place in sides(corners)]
    for point, normal in places:
        assert abs(line(ours, point, normal, scale)) <= 1
        assert abs(line(ours, point, normal, scale) - line(theirs, point, normal, 1)) <= 1
    assert places


def test_keypoints_are_where_the_client_draws_them(playground: Playground) -> None:
    file = playground.upload("pose")
    with playground.client("pose") as client:
        found = client.pose(file)
    shown = canvas(playground)
    scale = shown.shape[1] / scene("pose").shape[1]

    visible = found.keypoints[found.visibility > 0.5]
    for x, y, _ in visible:
        column, row = round(x * scale - 0.5), round(y * scale - 0.5)
        area = shown[row - 3 : row + 4, column - 3 : column + 4].min(axis=2) > 250
        rows, columns = np.nonzero(area)
        assert len(rows)
        assert abs(rows.mean() - 3) <= scale
        assert abs(columns.mean() - 3) <= scale
    assert len(visible)


def test_masks_cover_what_the_clients_masks_cover(playground: Playground) -> None:
    file = playground.upload("segment")
    with playground.client("segment") as client:
        found = client.segment(file)
    ours, scale = overlay(playground, "segment")
    truth = found.mask.any(axis=0).astype(np.uint8)
    ours = cv2.resize(ours, truth.shape[::-1], interpolation=cv2.INTER_AREA) > 0.5
    labels = np.zeros_like(truth)
    for x1, y1, x2, _ in found.xyxy:  # labels stand above the objects
        labels[max(0, int(y1) - 40) : int(y1) + 2, int((x1 + x2) / 2) - 80 : int((x1 + x2) / 2) + 80] = 1

    kernel = np.ones((5, 5), np.uint8)  # an edge's line reaches a pixel beyond the mask, and its pixels are half drawn
    within, around = cv2.erode(truth, kernel) > 0, cv2.dilate(truth, kernel) > 0
    assert truth.sum() > 1000
    assert scale > 0.5
    assert ours[within].all()
    assert not (ours & ~around & (labels == 0)).any()


def test_the_most_probable_classes_are_listed_and_drawn(playground: Playground) -> None:
    file = playground.upload("classify")
    with playground.client("classify") as client:
        top = client.classify(file).top()

    listed = playground.page.locator("#found li").all_inner_texts()
    assert [text.split()[0] for text in listed] == [one.class_name for one in top]
    assert f"{top[0].confidence:.1%}".replace("%", " %") in listed[0]
    expect(playground.page.locator("#settings")).to_be_hidden()  # classification has no parameters
    shown = canvas(playground)
    plain = cv2.resize(scene("classify"), shown.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    assert drawn_on(shown, np.asarray(plain, np.uint8))[10:60, 10:150].mean() > 0.5


@pytest.mark.parametrize(
    ("name", "value", "options"),
    [
        pytest.param("conf", 0.01, {"conf": 0.01}, id="conf"),
        pytest.param("conf", 0.9, {"conf": 0.9}, id="conf-high"),
        pytest.param("iou", 0.0, {"iou": 0.0}, id="iou"),
        pytest.param("max_det", 1, {"max_det": 1}, id="max_det"),
    ],
)
def test_a_slider_is_answered_at_once(playground: Playground, name: str, value: float, options: Any) -> None:
    file = playground.upload("detect")
    with playground.client("detect") as client:
        expected = client.detect(file, **options)

    playground.slide(name, value)

    expect(playground.page.locator("#found li")).to_have_count(min(len(expected), 100))
    assert json.loads(playground.answer())["objects"] == json.loads(json.dumps(expected.to_dict()["objects"]))


def test_the_class_filter_and_agnostic_are_sent(playground: Playground) -> None:
    page = playground.page
    file = playground.upload("detect")
    page.click("#filter summary")
    page.fill("#search", "squ")
    expect(page.locator("#classes label:visible")).to_have_count(1)
    page.check("#classes input[value='1']")
    expect(page.locator("#chosen")).to_have_text("square")
    page.check("#agnostic")
    page.click("#tab-json")
    expect(page.locator("#snippet")).to_contain_text('"agnostic": true')
    assert json.loads(page.inner_text("#snippet"))["parameters"] == {"classes": "1", "agnostic": True}
    with playground.client("detect") as client:
        expected = client.detect(file, classes=[1], agnostic=True)
    expect(page.locator("#found li")).to_have_count(len(expected))

    page.click("#reset")

    expect(page.locator("#chosen")).to_have_text("all")
    expect(page.locator("#snippet")).to_contain_text('"parameters": {}')


def test_the_stages_times_are_shown(playground: Playground) -> None:
    playground.upload("detect")
    playground.slide("conf", 0.3)

    expect(playground.page.locator("#stages")).to_be_visible()
    assert {"queue", "preprocess", "network", "postprocess"} <= set(playground.page.inner_text("#stages").split())
    assert "Answered in" in playground.page.inner_text("#meter")
