# SPDX-License-Identifier: Apache-2.0
"""Results in a real MQTT broker, which starts again meanwhile: ``make test-mqtt``."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from tests.unit.client.cameras.test_hub import wait_for
from tests.unit.client.cameras.test_outlets import QUICK, line, put
from yolov8_triton._cameras.outlets import mqtt_outlet

PROGRAM = os.environ.get("MOSQUITTO") or shutil.which("mosquitto") or "/usr/sbin/mosquitto"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@contextmanager
def broker(folder: Path, port: int) -> Iterator[None]:
    """Run mosquitto until the end."""
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    with subprocess.Popen([PROGRAM, "-c", config], stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
            yield
        finally:
            process.terminate()


@contextmanager
def subscribed(port: int, topic: str) -> Iterator[list[tuple[str, str]]]:
    """Yield what arrives under a topic."""
    seen: list[tuple[str, str]] = []
    ready: list[bool] = []
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_connect = lambda one, *_: one.subscribe(topic)
    client.on_subscribe = lambda *_: ready.append(True)
    client.on_message = lambda _, __, message: seen.append((message.topic, message.payload.decode()))
    client.connect("127.0.0.1", port)
    client.loop_start()
    wait_for(lambda: bool(ready))
    try:
        yield seen
    finally:
        client.disconnect()
        client.loop_stop()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_results_arrive_in_order_also_after_the_broker_has_started_again(tmp_path: Path) -> None:
    port = free_port()
    with broker(tmp_path, port), subscribed(port, "site/#") as seen:
        outlet = mqtt_outlet(f"mqtt://127.0.0.1:{port}/site/one", again=QUICK)
        put(outlet, 500)
        wait_for(lambda: len(seen) == 500)
    assert seen == [("site/one/gate", line(number)) for number in range(500)]
    wait_for(lambda: put(outlet, 1) is None and "no MQTT broker" in outlet.counts().problem)
    with broker(tmp_path, port), subscribed(port, "site/#") as again, closing(outlet):
        put(outlet, 5)
        wait_for(lambda: ("site/one/gate", line(4)) in again)
    assert outlet.counts().dropped == 0
