# SPDX-License-Identifier: Apache-2.0
"""Run the door in a thread beside the launcher."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from yolov8_server._errors import InvalidArgumentError, UnsupportedEnvironmentError
from yolov8_server._ports import ANY_ADDRESS, port_error, resolve_host

if TYPE_CHECKING:
    from aiohttp import web

# aiohttp logs malformed requests of callers with tracebacks; errors of the door itself are logged by the application.
_quiet = logging.getLogger(f"{__name__}.callers")
_quiet.propagate = False
_quiet.addHandler(logging.NullHandler())

BACKLOG = 128
STOP_TIMEOUT_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Door:
    """What the door serves, and where.

    Attributes:
        host: IPv4 address or host name to listen on.
        port: Port; 0 takes a free one.
        samples: Folder of pictures to offer, if any.
        cameras: Address of a camera hub, such as ``http://127.0.0.1:9100``, if any.
    """

    host: str = "127.0.0.1"
    port: int = 0
    samples: Path | None = None
    cameras: str | None = None

    def listen(self) -> socket.socket:
        """Return a socket that listens, after a check of all settings.

        Raises:
            UnsupportedEnvironmentError: if aiohttp is not installed.
            PortInUseError: if the port is taken, or needs root privileges.
            InvalidArgumentError: if a setting is invalid.
        """
        if find_spec("aiohttp") is None:
            raise UnsupportedEnvironmentError(
                "--playground needs aiohttp: pip install 'yolov8-triton-server[playground]'"
            )
        if self.samples is not None and not self.samples.is_dir():
            raise InvalidArgumentError(f"--playground-samples {self.samples}: expected a folder of pictures")
        if self.cameras is not None and not _is_base(self.cameras):
            raise InvalidArgumentError(
                f"--playground-cameras {self.cameras}: expected an address such as http://127.0.0.1:9100"
            )
        return _bound(resolve_host(self.host), self.port)


def _is_base(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not parts.query
    except ValueError:
        return False


def _bound(address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        raise port_error(exc, address, port, "playground") from exc
    return listener


@contextmanager
def open_door(door: Door, listener: socket.socket, *, triton: str, headers: Mapping[str, str]) -> Iterator[str]:
    """Serve a door on a listening socket inside a ``with`` block; yield its address for a browser.

    Args:
        door: What to serve.
        listener: What `Door.listen` returned; it is closed at the end.
        triton: Triton's HTTP address, ``HOST:PORT``.
        headers: Header fields that open what Triton closes.
    """
    from .application import application

    started: Future[_Stop] = Future()
    app = application(door, triton=triton, headers=headers)
    thread = threading.Thread(target=_run, args=(app, listener, started), name="playground", daemon=True)
    thread.start()
    loop, stop = started.result()
    try:
        address, port = listener.getsockname()[:2]
        yield f"http://{'127.0.0.1' if address == ANY_ADDRESS else door.host}:{port}/"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


_Stop = tuple[asyncio.AbstractEventLoop, asyncio.Event]


def _run(app: web.Application, listener: socket.socket, started: Future[_Stop]) -> None:
    try:
        asyncio.run(_serve(app, listener, started))
    except BaseException as exc:
        if started.done():
            raise
        started.set_exception(exc)


async def _serve(app: web.Application, listener: socket.socket, started: Future[_Stop]) -> None:
    from aiohttp import web

    runner = web.AppRunner(
        app, handler_cancellation=True, access_log=None, logger=_quiet, shutdown_timeout=STOP_TIMEOUT_S
    )
    await runner.setup()
    stop = asyncio.Event()
    try:
        await web.SockSite(runner, listener).start()
        started.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()
    finally:
        await runner.cleanup()
