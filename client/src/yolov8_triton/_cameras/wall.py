# SPDX-License-Identifier: Apache-2.0
"""Serve the live state of cameras over HTTP, for the wall and for Prometheus.

An event loop in a thread of its own answers. Pictures are encoded when they are asked for, and a listener that is slow
misses the oldest events.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from yolov8_triton._cameras.channel import CameraFrame
from yolov8_triton._cameras.hub import CameraFrames
from yolov8_triton._cameras.metrics import exposition
from yolov8_triton._cameras.outlets import Outlet
from yolov8_triton._extras import extra
from yolov8_triton._images import Pixels

if TYPE_CHECKING:
    from aiohttp import web

MOST_LISTENERS = 32
MOST_WAITING = 256
"""Events that wait for a slow listener."""
_MOST_ENCODING = 2
_STATE_S = 1.0
_WRITE_TIMEOUT_S = 10.0
_LEAVE_S = 2.0
_QUALITY = 80
_WIDTHS = (64, 3840)


class Wall:
    """The server; ``close()`` ends it.

    Attributes:
        address: Host and port, ``HOST:PORT``.
    """

    def __init__(self, frames: CameraFrames[Any], outlets: Sequence[Outlet], *, host: str, port: int) -> None:
        """Start to listen; port 0 is any that is free.

        Raises:
            OSError: The address can't be used.
            ImportError: The extra ``cameras`` is not installed.
        """
        with extra("cameras"):
            from aiohttp import web
        self._web = web
        self._frames, self._outlets, self._host = frames, outlets, host
        self._metrics = exposition(frames, outlets)
        self._listeners: set[asyncio.Queue[bytes | None]] = set()
        self._pictures: dict[tuple[str, int], tuple[int, bytes]] = {}
        self._encoding = 0
        self._encoders = ThreadPoolExecutor(_MOST_ENCODING, thread_name_prefix="yolov8-triton-wall")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="yolov8-triton-wall", daemon=True)
        self._thread.start()
        try:
            self.address: str = asyncio.run_coroutine_threadsafe(self._start(port), self._loop).result()
        except BaseException:
            self._end_loop()
            raise

    def publish(self, frame: CameraFrame[Any], line: str) -> None:
        """Send a result, which is one line of JSON, to all listeners."""
        del frame
        if self._listeners:
            self._loop.call_soon_threadsafe(self._tell, _event("result", line))

    def close(self) -> None:
        """End all connections and the thread."""
        with suppress(TimeoutError, asyncio.TimeoutError):
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_LEAVE_S)
        self._end_loop()

    async def _start(self, port: int) -> str:
        web = self._web
        app = web.Application(middlewares=[self._guard()])
        app.add_routes(
            [
                web.get("/metrics", self._get_metrics),
                web.get("/cameras/state", self._get_state),
                web.get("/cameras/events", self._get_events, allow_head=False),
                web.get("/cameras/{name}/frame.jpg", self._get_picture),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, self._host, port)
            await site.start()
        except BaseException:
            await self._runner.cleanup()
            raise
        self._ticking = asyncio.ensure_future(self._tick())
        host, bound = self._runner.addresses[0][:2]
        return f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"

    async def _stop(self) -> None:
        self._ticking.cancel()
        for queue in self._listeners:
            _push(queue, None)
        await self._runner.cleanup()

    def _end_loop(self) -> None:
        self._encoders.shutdown(wait=False, cancel_futures=True)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_LEAVE_S)
        if not self._thread.is_alive():
            self._loop.close()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_STATE_S)
            if self._listeners:
                self._tell(_event("state", self._state()))

    def _tell(self, event: bytes) -> None:
        for queue in self._listeners:
            _push(queue, event)

    def _guard(self) -> Any:
        """Return the check of the Host header: a page of another site, whose name leads here, must read nothing."""
        local = _is_local(self._host)

        @self._web.middleware
        async def guard(request: web.Request, handler: Callable[..., Any]) -> Any:
            if local and not _is_local(request.url.host or ""):
                text = f"Host: expected localhost or an address of this machine, got {request.host!r}\n"
                return self._web.Response(status=HTTPStatus.MISDIRECTED_REQUEST, text=text)
            response = await handler(request)
            if not response.prepared:
                response.headers["Cache-Control"] = "no-store"
                response.headers["X-Content-Type-Options"] = "nosniff"
            return response

        return guard

    async def _get_metrics(self, _: web.Request) -> web.Response:
        text, kind = self._metrics()
        return self._web.Response(body=text, headers={"Content-Type": kind})

    async def _get_state(self, _: web.Request) -> web.Response:
        return self._web.Response(text=self._state(), content_type="application/json")

    def _state(self) -> str:
        statistics = self._frames.statistics()
        cameras = [self._camera(name, statistics[name].to_dict()) for name in self._frames.cameras]
        outputs = [
            {"name": outlet.name, **{key: getattr(counts, key) for key in type(counts).__slots__}}
            for outlet in self._outlets
            for counts in (outlet.counts(),)
        ]
        return json.dumps({"time": round(time.time(), 3), "cameras": cameras, "outputs": outputs}, ensure_ascii=False)

    def _camera(self, name: str, statistics: dict[str, Any]) -> dict[str, Any]:
        camera, last = self._frames.cameras[name], self._frames.last(name)
        return {
            "name": name,
            "priority": camera.priority,
            **statistics,
            "size": None if last is None else list(last.pixels.shape[1::-1]),
            "zones": [{"name": zone.name, "points": [list(point) for point in zone.points]} for zone in camera.zones],
            "lines": [{"name": line.name, "start": list(line.start), "end": list(line.end)} for line in camera.lines],
            "last": None if last is None else last.to_dict(),
        }

    async def _get_events(self, request: web.Request) -> web.StreamResponse:
        if len(self._listeners) >= MOST_LISTENERS:
            return self._refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"{MOST_LISTENERS} listeners are connected already")
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(MOST_WAITING)
        self._listeners.add(queue)
        response = self._web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        try:
            await response.prepare(request)
            _push(queue, _event("state", self._state()))
            while (event := await queue.get()) is not None:
                await asyncio.wait_for(response.write(event), _WRITE_TIMEOUT_S)
        except (ConnectionError, TimeoutError, asyncio.TimeoutError):
            pass  # whoever listened has gone, or reads nothing
        finally:
            self._listeners.discard(queue)
        return response

    async def _get_picture(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._frames.cameras:
            return self._refusal(HTTPStatus.NOT_FOUND, f"there is no camera {name!r}")
        text = request.query.get("width", "0")
        if not text.isdecimal() or len(text) > len(str(_WIDTHS[1])):
            return self._refusal(HTTPStatus.BAD_REQUEST, f"width: expected a number of pixels, got {text[:20]!r}")
        width = 0 if int(text) == 0 else min(max(int(text), _WIDTHS[0]), _WIDTHS[1])
        frame = self._frames.last(name)
        if frame is None:
            return self._refusal(HTTPStatus.NOT_FOUND, f"camera {name!r} has no answered frame yet")
        index, content = self._pictures.get((name, width), (-1, b""))
        if index != frame.index:
            if self._encoding >= _MOST_ENCODING + MOST_LISTENERS:
                return self._refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too many pictures are asked for")
            index, content = frame.index, await self._encoded(frame.pixels, width)
            self._keep(name, width, index, content)
        return self._web.Response(body=content, content_type="image/jpeg", headers={"ETag": f'"{index}"'})

    async def _encoded(self, pixels: Pixels, width: int) -> bytes:
        self._encoding += 1
        try:
            return await self._loop.run_in_executor(self._encoders, _jpeg, pixels, width)
        finally:
            self._encoding -= 1

    def _keep(self, name: str, width: int, index: int, content: bytes) -> None:
        """Keep one picture of a camera for the others who ask for it."""
        for key in [key for key in self._pictures if key[0] == name]:
            del self._pictures[key]
        self._pictures[name, width] = (index, content)

    def _refusal(self, status: HTTPStatus, text: str) -> web.Response:
        return self._web.json_response({"error": text}, status=status)


def _event(kind: str, line: str) -> bytes:
    return f"event: {kind}\ndata: {line}\n\n".encode()


def _push(queue: asyncio.Queue[bytes | None], event: bytes | None) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(event)


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _jpeg(pixels: Pixels, width: int) -> bytes:
    import cv2

    height, own = pixels.shape[:2]
    size = (width, max(round(height * width / own), 1))
    shown = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if 0 < width < own else pixels
    return cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
