# SPDX-License-Identifier: Apache-2.0
"""A broker that takes what is published, as far as MQTT 3.1.1 needs it for that: connect, publish (QoS 0), ping."""

from __future__ import annotations

import socketserver
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tests.fakes.threads import in_thread

CONNECT, CONNACK, PUBLISH, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 12, 13, 14
REFUSED = 5
"""The return code for a user who may not connect."""


class Broker:
    """What a broker got.

    Attributes:
        published: Topics and payloads, in order.
        users: User names and passwords of the connections.
        port: Its port.
    """

    def __init__(self) -> None:
        self.published: list[tuple[str, str]] = []
        self.users: list[tuple[str, str]] = []
        self.port = 0
        self.connections: list[Any] = []


class Handler(socketserver.StreamRequestHandler):
    """A connection."""

    server: Server

    def handle(self) -> None:
        self.server.broker.connections.append(self.connection)
        with suppress(OSError, EOFError):
            while True:
                self.server.reading()
                self.packet()

    def packet(self) -> None:
        kind = self.read(1)[0] >> 4
        body = self.read(self.length())
        if kind == CONNECT:
            self.server.broker.users.append(credentials(body))
            self.wfile.write(bytes([CONNACK << 4, 2, 0, self.server.code]))
        elif kind == PUBLISH:
            size = int.from_bytes(body[:2], "big")
            self.server.broker.published.append((body[2 : 2 + size].decode(), body[2 + size :].decode()))
        elif kind == PINGREQ:
            self.wfile.write(bytes([PINGRESP << 4, 0]))
        elif kind == DISCONNECT:
            raise EOFError

    def length(self) -> int:
        value, shift = 0, 0
        while True:
            (byte,) = self.read(1)
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def read(self, size: int) -> bytes:
        content = self.rfile.read(size)
        if len(content) < size:
            raise EOFError
        return content


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, broker: Broker, code: int, reading: Callable[[], object]) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.broker, self.code, self.reading = broker, code, reading


@contextmanager
def serving(*, port: int = 0, code: int = 0, reading: Callable[[], object] = lambda: None) -> Iterator[Broker]:
    """Take connections until the end.

    Args:
        port: The port; 0 is any that is free.
        code: The return code for connections; 0 accepts them.
        reading: Called before each packet is read.
    """
    broker = Broker()
    server = Server(port, broker, code, reading)
    broker.port = server.server_address[1]
    try:
        with in_thread(server):
            yield broker
    finally:
        for connection in broker.connections:
            with suppress(OSError):
                connection.shutdown(2)


def credentials(body: bytes) -> tuple[str, str]:
    """Return user name and password of a connection that has both, or empty texts."""
    flags, texts, at = body[7], [], 10
    while at < len(body):
        size = int.from_bytes(body[at : at + 2], "big")
        texts.append(body[at + 2 : at + 2 + size].decode())
        at += 2 + size
    return (texts[-2], texts[-1]) if flags & 0b1100_0000 == 0b1100_0000 else ("", "")
