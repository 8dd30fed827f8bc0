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
from typing import TYPE_CHECKING

from yolov8_server._ports import ANY_ADDRESS

from .door import Door

if TYPE_CHECKING:
    from aiohttp import web

# aiohttp logs malformed requests of callers with tracebacks; errors of the door itself are logged by the application.
_quiet = logging.getLogger(f"{__name__}.callers")
_quiet.propagate = False
_quiet.addHandler(logging.NullHandler())

STOP_TIMEOUT_S = 2.0


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
