# SPDX-License-Identifier: Apache-2.0
"""Test the server of metrics, states, events and pictures."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.clips import number
from tests.unit.client.cameras.sources import Steady, dead
from tests.unit.client.cameras.test_hub import QUICK, box, nothing, wait_for
from yolov8_triton import Camera, Line, Zone, hub
from yolov8_triton._cameras.wall import MOST_LISTENERS, Wall


@contextmanager
def walled(cameras: Any, ask: Any = nothing) -> Iterator[tuple[str, Wall]]:
    """Run a hub and its server; yield the server's address."""
    with hub(ask, cameras, reconnect=QUICK) as frames, closing(Wall(frames, [], host="127.0.0.1", port=0)) as wall:

        def take() -> None:
            for frame in frames:
                wall.publish(frame, json.dumps(frame.to_dict()))

        taking = threading.Thread(target=take)
        taking.start()
        wait_for(lambda: all(frames.last(name) or name == "dead" for name in frames.cameras))
        try:
            yield f"http://{wall.address}", wall
        finally:
            frames.close()
            taking.join(5)


AREAS = Camera(
    name="gate",
    source=Steady(20),
    tracker="bytetrack",
    in_flight=1,
    zones=[Zone(name="all", points=[(0, 0), (99, 0), (99, 59), (0, 59)])],
    lines=[Line(name="door", start=(50, 0), end=(50, 59))],
)


def events(url: str, until: Callable[[list[tuple[str, Any]]], bool]) -> list[tuple[str, Any]]:
    seen: list[tuple[str, Any]] = []
    with httpx.stream("GET", f"{url}/cameras/events", timeout=20) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        assert "access-control-allow-origin" not in answer.headers
        kind = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                seen.append((kind, json.loads(line.removeprefix("data: "))))
                if until(seen):
                    return seen
    raise AssertionError("the events have ended")


@pytest.mark.slow
def test_the_state_has_statistics_areas_and_the_last_result() -> None:
    camera = Camera(**{**AREAS.__dict__, "source": Steady(20)})
    with walled([camera, Camera(name="dead", source=dead)], lambda *_, **__: box(30.0)) as (url, _):
        answer = httpx.get(f"{url}/cameras/state")

    assert answer.headers["cache-control"] == "no-store"
    gate, broken = answer.json()["cameras"]
    assert (gate["name"], gate["state"], gate["size"]) == ("gate", "live", [100, 60])
    assert gate["zones"] == [{"name": "all", "points": [[0, 0], [99, 0], [99, 59], [0, 59]]}]
    assert gate["lines"] == [{"name": "door", "start": [50, 0], "end": [50, 59]}]
    assert gate["last"]["camera"] == "gate"
    assert (broken["state"], broken["last"], broken["message"]) == ("reconnecting", None, "no route to host")


def test_events_are_results_and_states() -> None:
    with walled({"one": Steady(20), "two": Steady(20)}) as (url, _):
        seen = events(url, lambda seen: len(seen) > 30)

    assert seen[0][0] == "state"
    results = [data for kind, data in seen if kind == "result"]
    assert {result["camera"] for result in results} == {"one", "two"}
    assert [name["name"] for name in seen[0][1]["cameras"]] == ["one", "two"]


def test_a_picture_is_the_frame_that_the_last_answer_belongs_to() -> None:
    with walled({"north gate/1": Steady(20, 10)}) as (url, _):
        wait_for(lambda: httpx.get(f"{url}/cameras/state").json()["cameras"][0]["state"] == "ended")
        answer = httpx.get(f"{url}/cameras/north%20gate%2F1/frame.jpg")
        small = httpx.get(f"{url}/cameras/north%20gate%2F1/frame.jpg?width=64")

    picture = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["etag"] == '"9"'
    assert picture.shape == (60, 100, 3)
    assert number(picture) == 9
    assert cv2.imdecode(np.frombuffer(small.content, np.uint8), cv2.IMREAD_COLOR).shape == (38, 64, 3)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/cameras/other/frame.jpg", 404, "there is no camera 'other'"),
        ("/cameras/dead/frame.jpg", 404, "has no answered frame yet"),
        ("/cameras/one/frame.jpg?width=9e9", 400, "width: expected a number of pixels"),
        ("/", 404, "Not Found"),
    ],
)
def test_what_is_not_there_is_named(path: str, status: int, text: str) -> None:
    with walled({"one": Steady(20), "dead": dead}) as (url, _):
        answer = httpx.get(f"{url}{path}")

    assert answer.status_code == status
    assert text in answer.text


@pytest.mark.slow
def test_metrics_are_prometheus_text() -> None:
    camera = Camera(**{**AREAS.__dict__, "source": Steady(20, 30)})
    with walled([camera, Camera(name="dead", source=dead)], lambda *_, **__: box(30.0)) as (url, _):
        wait_for(lambda: httpx.get(f"{url}/cameras/state").json()["cameras"][0]["state"] == "ended")
        text = httpx.get(f"{url}/metrics").text

    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["yolov8_camera_frames_read_total", "gate"] == 30
    answered = samples["yolov8_camera_frames_answered_total", "gate"]
    assert answered + samples["yolov8_camera_frames_dropped_total", "gate"] == 30
    assert samples["yolov8_camera_frame_age_seconds_count", "gate"] == answered
    assert samples["yolov8_camera_frame_age_seconds_bucket", "gate", "+Inf"] == answered
    assert samples["yolov8_camera_state", "gate", "ended"] == 1
    assert samples["yolov8_camera_state", "gate", "live"] == 0
    assert samples["yolov8_camera_zone_objects", "gate", "all"] == 1
    assert samples["yolov8_camera_line_crossings_total", "gate", "in", "door"] == 0
    assert samples["yolov8_camera_errors_total", "dead", "open"] >= 1


def test_a_listener_too_many_is_refused_and_one_that_left_makes_room() -> None:
    with walled({"one": Steady(20)}) as (url, _), httpx.Client(limits=httpx.Limits(max_connections=None)) as client:
        streams = [client.stream("GET", f"{url}/cameras/events") for _ in range(MOST_LISTENERS)]
        for stream in streams:
            assert stream.__enter__().status_code == 200
        refused = client.get(f"{url}/cameras/events")
        for stream in streams:
            stream.__exit__(None, None, None)

        assert refused.status_code == 503
        assert "listeners are connected already" in refused.text
        wait_for(lambda: client.stream("GET", f"{url}/cameras/events").__enter__().status_code == 200)


def test_a_listener_that_reads_nothing_delays_no_other() -> None:
    with walled({"one": Steady(50)}) as (url, wall), httpx.stream("GET", f"{url}/cameras/events"):
        large = json.dumps({"camera": "one", "text": "x" * 200_000})
        for _ in range(400):
            wall.publish(None, large)  # type: ignore[arg-type]  (the frame is for others)
        begin = time.monotonic()
        events(url, lambda seen: len([kind for kind, _ in seen if kind == "result"]) > 20)

    assert time.monotonic() - begin < 10


def test_a_page_of_another_name_reads_nothing() -> None:
    with walled({"one": Steady(20)}) as (url, _):
        for path in ("/cameras/state", "/cameras/events", "/metrics", "/cameras/one/frame.jpg"):
            assert httpx.get(f"{url}{path}", headers={"host": "evil.example"}).status_code == 421
        assert httpx.get(f"{url}/cameras/state", headers={"host": "localhost:1"}).status_code == 200


def test_closing_leaves_no_thread_and_frees_the_port() -> None:
    before = set(threading.enumerate())
    with walled({"one": Steady(20)}) as (url, _), httpx.stream("GET", f"{url}/cameras/events") as stream:
        next(stream.iter_lines())
        httpx.get(f"{url}/cameras/one/frame.jpg")
        begin = time.monotonic()

    assert time.monotonic() - begin < 6
    wait_for(lambda: not set(threading.enumerate()) - before)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_a_port_that_is_taken_is_an_error() -> None:
    with walled({"one": Steady(20)}) as (url, _), hub(nothing, {"two": Steady(20)}) as frames:
        with pytest.raises(OSError, match="address already in use"):
            Wall(frames, [], host="127.0.0.1", port=int(url.rpartition(":")[2]))
        wait_for(lambda: [one.name for one in threading.enumerate()].count("yolov8-triton-wall") == 1)
