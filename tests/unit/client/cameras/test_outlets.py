# SPDX-License-Identifier: Apache-2.0
"""Test what results do on their way out: to a broker and a web server that answer, are slow, fail, and go away."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from tests.fakes import fake_http, mqtt_broker
from tests.unit.client.cameras.test_hub import wait_for
from yolov8_triton import RetryPolicy
from yolov8_triton._cameras.outlets import Message, Outlet, mqtt_outlet, webhook_outlet

QUICK = RetryPolicy(first_pause_s=0.02, longest_pause_s=0.1)


def line(number: int) -> str:
    return json.dumps({"frame": number})


def put(outlet: Outlet, count: int, camera: str = "gate") -> None:
    for number in range(count):
        outlet.put(Message(camera, line(number)))


@contextmanager
def webhook(status: Callable[[], int], **options: Any) -> Iterator[tuple[Outlet, list[list[dict[str, Any]]]]]:
    """Yield a webhook outlet and the batches that its server took."""
    taken: list[list[dict[str, Any]]] = []

    def handle(request: Any) -> fake_http.Reply:
        code = status()
        if code == 200:
            taken.append(json.loads(request.body))
        return code, b""

    with (
        fake_http.serving(handle) as address,
        closing(webhook_outlet(f"http://{address}/hook", again=QUICK, **options)) as outlet,
    ):
        yield outlet, taken


def test_results_are_posted_in_batches_in_order() -> None:
    with webhook(lambda: 200) as (outlet, taken):
        put(outlet, 250)
        wait_for(lambda: outlet.counts().sent == 250)

    assert [one["frame"] for batch in taken for one in batch] == list(range(250))
    assert len(taken) <= 4
    assert outlet.counts().failures == 0


def test_a_web_server_that_fails_is_asked_again_and_nothing_is_lost() -> None:
    answers = iter([503, 500, 429, 302, 200])
    with webhook(lambda: next(answers, 200), linger_s=0.0) as (outlet, taken):
        put(outlet, 1)
        wait_for(lambda: outlet.counts().refused == 1)  # 302 is no failure of a moment
        put(outlet, 2)
        wait_for(lambda: outlet.counts().sent == 2)

    assert outlet.counts().failures == 4
    assert [one["frame"] for batch in taken for one in batch] == [0, 1]


def test_a_refused_batch_is_counted_and_the_next_one_is_sent() -> None:
    answers = iter([404])
    with webhook(lambda: next(answers, 200)) as (outlet, taken):
        put(outlet, 3)
        wait_for(lambda: outlet.counts().refused == 3)
        assert outlet.counts().problem.endswith("status 404")
        put(outlet, 2)
        wait_for(lambda: outlet.counts().sent == 2)

    assert len(taken) == 1
    assert outlet.counts().problem == ""


def test_a_slow_web_server_delays_nobody_and_the_oldest_results_are_dropped() -> None:
    release = threading.Event()

    def slow() -> int:
        release.wait(30)
        return 200

    with webhook(slow, most=50, linger_s=0.0) as (outlet, taken):
        outlet.put(Message("gate", line(-1)))
        time.sleep(0.2)  # its request is under way
        begin = time.monotonic()
        put(outlet, 1000)
        took_s = time.monotonic() - begin
        dropped = outlet.counts().dropped
        release.set()
        wait_for(lambda: outlet.counts().sent == 51)

    assert took_s < 1
    assert dropped == 950
    assert [one["frame"] for one in taken[-1]] == list(range(950, 1000))


@pytest.mark.slow
def test_a_web_server_that_goes_away_is_found_again() -> None:
    taken: list[Any] = []

    def handle(request: Any) -> fake_http.Reply:
        taken.extend(json.loads(request.body))
        request.close_connection = True  # else its thread would outlive the server
        return 200, b""

    with fake_http.serving(handle) as address:
        outlet = webhook_outlet(f"http://{address}/", again=QUICK, linger_s=0.0)
        put(outlet, 1)
        wait_for(lambda: outlet.counts().sent == 1)
    put(outlet, 2)
    wait_for(lambda: outlet.counts().failures >= 2)
    assert "webhook at 127.0.0.1: " in outlet.counts().problem
    begin = time.monotonic()
    outlet.close()

    assert time.monotonic() - begin < 5
    assert outlet.counts().dropped == 2


def test_closing_sends_what_is_queued() -> None:
    with webhook(lambda: 200, linger_s=60.0) as (outlet, taken):
        put(outlet, 5)

    assert sum(map(len, taken)) == 5
    assert outlet.counts().sent == 5


def test_results_are_published_under_their_camera_s_topic() -> None:
    with mqtt_broker.serving() as broker:
        address = f"mqtt://viewer:s3%20cret@127.0.0.1:{broker.port}/site/one"
        with closing(mqtt_outlet(address, again=QUICK)) as outlet:
            put(outlet, 3)
            put(outlet, 1, camera="north/#1")
            wait_for(lambda: len(broker.published) == 4)

    assert broker.published == [*(("site/one/gate", line(n)) for n in range(3)), ("site/one/north%2F%231", line(0))]
    assert broker.users == [("viewer", "s3 cret")]
    assert outlet.counts().sent == 4


@pytest.mark.slow
def test_results_wait_for_a_broker_that_goes_away() -> None:
    with mqtt_broker.serving() as broker:
        outlet = mqtt_outlet(f"mqtt://127.0.0.1:{broker.port}/site", again=QUICK)
        put(outlet, 1)
        wait_for(lambda: len(broker.published) == 1)
    wait_for(lambda: put(outlet, 1) is None and "no MQTT broker at 127.0.0.1" in outlet.counts().problem)
    with mqtt_broker.serving(port=broker.port) as again, closing(outlet):
        wait_for(lambda: len(again.published) > 0)
        sent = outlet.counts().sent
        put(outlet, 1)
        wait_for(lambda: outlet.counts().sent > sent)


@pytest.mark.slow
def test_a_broker_that_refuses_the_user_says_so() -> None:
    with (
        mqtt_broker.serving(code=mqtt_broker.REFUSED) as broker,
        closing(mqtt_outlet(f"mqtt://127.0.0.1:{broker.port}/site", again=QUICK)) as outlet,
    ):
        put(outlet, 1)
        wait_for(lambda: "it refused: Not authorized" in outlet.counts().problem)
        assert broker.published == []


def test_a_broker_that_reads_nothing_fills_no_memory() -> None:
    stuck = threading.Event()
    connected = threading.Event()

    def reading() -> None:
        if connected.is_set():
            stuck.wait(60)
        connected.set()

    with (
        mqtt_broker.serving(reading=reading) as broker,
        closing(mqtt_outlet(f"mqtt://127.0.0.1:{broker.port}/site", again=QUICK, most=10)) as outlet,
    ):
        begin = time.monotonic()
        for _ in range(300):
            outlet.put(Message("gate", "x" * 100_000))
        assert time.monotonic() - begin < 5
        wait_for(lambda: outlet.counts().dropped >= 100)
        stuck.set()


@pytest.mark.parametrize(
    ("make", "address"),
    [
        (mqtt_outlet, "mqtt://broker"),
        (mqtt_outlet, "mqtt://broker/a/#"),
        (mqtt_outlet, "http://broker/a"),
        (mqtt_outlet, "mqtt:///topic"),
        (mqtt_outlet, "mqtt://user:s3cret@broker:99999/a"),
        (webhook_outlet, "ftp://host/"),
        (webhook_outlet, "https://"),
        (webhook_outlet, "host/path"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused_without_its_password(make: Any, address: str) -> None:
    with pytest.raises(ValueError, match="expected a") as caught:
        make(address)

    assert "s3cret" not in str(caught.value)
