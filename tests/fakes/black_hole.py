# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that can lose all that its connections carry, without ending them: a firewall that forgot them."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType

CHUNK = 65536


class BlackHole:
    """Passes bytes on to a server while the context lasts.

    Attributes:
        url: Where it listens.
        connections: How many it has taken so far.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._lost: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.url = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.connections = 0

    def __enter__(self) -> BlackHole:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for end in [self._listening, *self._ends]:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def swallow(self) -> None:
        """Lose from now on what comes over the connections there are; new ones are well."""
        self._lost = set(self._ends)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:  # closed
                return
            server = socket.create_connection(self._target)
            self.connections += 1
            self._ends += [client, server]
            self._start(self._pass_on, client, server)
            self._start(self._pass_on, server, client)

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):  # one of them is closed
            while content := source.recv(CHUNK):
                if source not in self._lost:
                    sink.sendall(content)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)  # type: ignore[arg-type]  # a method of ours
        self._threads.append(thread)
        thread.start()
