# SPDX-License-Identifier: Apache-2.0
"""Send results to a message broker or a web server, from a bounded queue that never delays the cameras.

A queue that is full drops its oldest results, and counts them. A delivery that fails is repeated with growing pauses.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

from yolov8_triton._extras import extra
from yolov8_triton._failover import RetryPolicy

MOST_QUEUED = 2000
MOST_IN_BATCH = 100
TIMEOUT_S = 5.0
LEAVE_S = 2.0
"""Longest time for which a closing outlet sends what is queued."""
AGAIN = RetryPolicy(first_pause_s=0.5, longest_pause_s=15.0)
_MOST_ROUNDS = 30
_LINGER_S = 0.25
"""How long a result waits for others to share its request."""
_MQTT_PORTS = {"mqtt": 1883, "mqtts": 8883}
_RETRIED = {408, 425, 429}


class Message(NamedTuple):
    """A result to send: the camera's name and one line of JSON."""

    camera: str
    line: str


class DeliveryError(Exception):
    """A batch was not delivered.

    Attributes:
        again: Whether it makes sense to try again.
    """

    def __init__(self, message: str, *, again: bool = True) -> None:
        super().__init__(message)
        self.again = again


@dataclass(frozen=True, slots=True, kw_only=True)
class OutletCounts:
    """What an outlet did since the start.

    Attributes:
        sent: Number of results that were delivered.
        dropped: Number of results that the full queue dropped, or that were left when it closed.
        refused: Number of results that the receiver refused for good.
        failures: Number of deliveries that failed.
        problem: Why the last delivery failed; empty after one that did not.
    """

    sent: int
    dropped: int
    refused: int
    failures: int
    problem: str


class Outlet:
    """A queue of results, and the thread that delivers them."""

    def __init__(
        self,
        name: str,
        deliver: Callable[[Sequence[Message]], None],
        leave: Callable[[], object],
        *,
        most: int = MOST_QUEUED,
        linger_s: float = 0.0,
        again: RetryPolicy = AGAIN,
    ) -> None:
        self.name = name
        self._deliver, self._leave = deliver, leave
        self._most, self._linger_s, self._again = most, linger_s, again
        self._queue: deque[Message] = deque()
        self._changed = threading.Condition()
        self._over = False
        self._until = float("inf")
        self._sent = self._dropped = self._refused = self._failures = 0
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name=f"yolov8-triton-{name}", daemon=True)
        self._thread.start()

    def put(self, message: Message) -> None:
        """Queue a result; the oldest one is dropped if there is no room."""
        with self._changed:
            if len(self._queue) >= self._most:
                self._queue.popleft()
                self._dropped += 1
            self._queue.append(message)
            self._changed.notify_all()

    def counts(self) -> OutletCounts:
        """Return what it did so far."""
        with self._changed:
            return OutletCounts(
                sent=self._sent,
                dropped=self._dropped,
                refused=self._refused,
                failures=self._failures,
                problem=self._problem,
            )

    def close(self) -> None:
        """Send what is queued, for a short time, and end."""
        with self._changed:
            self._over, self._until = True, time.monotonic() + LEAVE_S
            self._changed.notify_all()
        self._thread.join(LEAVE_S + TIMEOUT_S)
        with self._changed:
            self._dropped += len(self._queue)
            self._queue.clear()
        self._leave()

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            rounds = 0
            while not self._delivered(batch):
                rounds = min(rounds + 1, _MOST_ROUNDS)
                if self._pause(self._again.pause_s(rounds)):
                    with self._changed:
                        self._dropped += len(batch)
                    return

    def _next(self) -> list[Message] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._over)
            if self._linger_s and not self._over:
                self._changed.wait_for(lambda: len(self._queue) >= MOST_IN_BATCH or self._over, self._linger_s)
            if not self._queue or time.monotonic() > self._until:
                return None
            return [self._queue.popleft() for _ in range(min(len(self._queue), MOST_IN_BATCH))]

    def _delivered(self, batch: Sequence[Message]) -> bool:
        """Deliver a batch; tell whether to go on to the next one."""
        try:
            self._deliver(batch)
        except DeliveryError as exc:
            with self._changed:
                self._failures += 1
                self._problem = str(exc)
                self._refused += 0 if exc.again else len(batch)
            return not exc.again
        with self._changed:
            self._sent += len(batch)
            self._problem = ""
        return True

    def _pause(self, seconds: float) -> bool:
        """Wait; tell whether the time to leave has come."""
        with self._changed:
            self._changed.wait_for(lambda: self._over, seconds)
            return self._over and time.monotonic() + seconds > self._until


def mqtt_outlet(address: str, **options: Any) -> Outlet:
    """Return an outlet that publishes each result under ``topic/CAMERA``.

    Args:
        address: ``mqtt://user:password@host:port/topic``, or ``mqtts://`` for TLS.
        **options: Options of `Outlet`.

    Raises:
        ValueError: The address is not valid.
        ImportError: The extra ``cameras`` is not installed.
    """
    parts = _parts(address, _MQTT_PORTS, "mqtt://HOST/TOPIC")
    topic = unquote(parts.path.strip("/"))
    if not topic or any(sign in f"{topic}{address}" for sign in "+#\0"):
        raise ValueError(f"expected a topic without + and # behind the host, as in mqtt://HOST/TOPIC, got {topic!r}")
    broker = _Broker(parts, topic)
    return Outlet("mqtt", broker.deliver, broker.leave, **options)


class _Broker:
    """The connection to an MQTT broker; a thread of paho-mqtt keeps it, and opens it again."""

    def __init__(self, parts: SplitResult, topic: str) -> None:
        with extra("cameras"):
            from paho.mqtt.client import Client, MQTTv311
            from paho.mqtt.enums import CallbackAPIVersion
        self._topic = topic
        host, port = str(parts.hostname), parts.port or _MQTT_PORTS[parts.scheme]
        self._where, self._why = f"{host}:{port}", "nobody answers"
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv311)
        self._client.connect_timeout = TIMEOUT_S
        self._client.reconnect_delay_set(1, 15)
        self._client.on_connect = self._connected
        if parts.username is not None:
            password = None if parts.password is None else unquote(parts.password)
            self._client.username_pw_set(unquote(parts.username), password)
        if parts.scheme == "mqtts":
            self._client.tls_set_context(ssl.create_default_context())
        self._client.connect_async(host, port)
        self._client.loop_start()

    def deliver(self, batch: Sequence[Message]) -> None:
        """Publish results, and wait until they are sent."""
        if not self._client.is_connected():
            raise DeliveryError(f"no MQTT broker at {self._where}: {self._why}")
        try:
            for camera, line in batch:
                last = self._client.publish(f"{self._topic}/{quote(camera, safe=' ')}", line)
            last.wait_for_publish(TIMEOUT_S)
        except (RuntimeError, ValueError) as exc:
            raise DeliveryError(f"MQTT broker at {self._where}: {exc}") from exc
        if not last.is_published():
            raise DeliveryError(f"MQTT broker at {self._where}: it took nothing for {TIMEOUT_S:g} s")

    def leave(self) -> None:
        """End the connection and its thread."""
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._why = f"it refused: {reason}" if reason.is_failure else "the connection was lost"


def webhook_outlet(address: str, **options: Any) -> Outlet:
    """Return an outlet that posts batches of results as JSON lists.

    Args:
        address: ``https://host/path`` or ``http://``.
        **options: Options of `Outlet`.

    Raises:
        ValueError: The address is not valid.
        ImportError: The extra ``cameras`` is not installed.
    """
    parts = _parts(address, {"http": 80, "https": 443}, "https://HOST/PATH")
    with extra("cameras"):
        import httpx
    client = httpx.Client(timeout=TIMEOUT_S, headers={"content-type": "application/json"}, follow_redirects=False)
    where = f"webhook at {parts.hostname}"

    def deliver(batch: Sequence[Message]) -> None:
        try:
            answer = client.post(address, content=f"[{','.join(line for _, line in batch)}]")
        except (httpx.HTTPError, RuntimeError) as exc:  # a closed client raises RuntimeError
            raise DeliveryError(f"{where}: {str(exc) or type(exc).__name__}") from exc
        if not answer.is_success:
            again = answer.is_server_error or answer.status_code in _RETRIED
            raise DeliveryError(f"{where}: status {answer.status_code}", again=again)

    return Outlet("webhook", deliver, client.close, **{"linger_s": _LINGER_S, **options})


def _parts(address: str, ports: dict[str, int], example: str) -> SplitResult:
    """Return the parts of an address; its errors don't show it, since it may have a password."""
    try:
        parts = urlsplit(address)
        sound = parts.scheme in ports and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ValueError(f"expected an address such as {example}")
    return parts
