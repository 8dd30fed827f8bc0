# SPDX-License-Identifier: Apache-2.0
"""The door as an aiohttp application: the page, Triton's HTTP protocol as far as the page needs it, and cameras."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import quote

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from . import requests
from .door import Door
from .page import HEADERS, MAX_PICTURES, PICTURES, page_files, pictures
from .requests import RefusedError

logger = logging.getLogger(__name__)

MAX_IN_FLIGHT = 16
"""Requests for inference that are read or run at a time; each may hold 34 MiB."""
MAX_CAMERA_STREAMS = 64
BODY_TIMEOUT_S = 15.0
ANSWER_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 3.0

LENGTH = "Inference-Header-Content-Length"
_MODEL = "/v2/models/{model:[A-Za-z0-9_.-]{1,200}}"
_READ_ONLY = (
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
    _MODEL,
    f"{_MODEL}/config",
    f"{_MODEL}/ready",
    f"{_MODEL}/stats",
)
_OWN_PAGE_ALONE = ("/v2", "/samples", "/cameras")
_ANSWER_HEADERS = ("Content-Type", LENGTH, "Cache-Control", "ETag")


def application(door: Door, *, triton: str, headers: Mapping[str, str]) -> web.Application:
    """Return the application of a door.

    Args:
        door: What it serves.
        triton: Triton's HTTP address, ``HOST:PORT``.
        headers: Header fields that open what Triton closes; they never reach a browser.
    """
    app = web.Application(middlewares=[_answer_errors, _guard(door)], client_max_size=requests.MAX_BODY_BYTES)
    app.on_response_prepare.append(_add_headers)
    site = _Site(door, triton, headers)
    app.cleanup_ctx.append(site.connected)
    app.add_routes([web.get(path, site.read, allow_head=False) for path in _READ_ONLY])
    app.add_routes(
        [
            web.post("/v2/repository/index", site.index),
            web.post(f"{_MODEL}/infer", site.infer),
            web.get("/cameras", site.camera, allow_head=False),
            web.get("/cameras/{rest:.*}", site.camera, allow_head=False),
            web.get("/samples/", site.sample_names),
            web.get("/samples/{name}", site.sample),
            web.get("/{name:[a-z0-9_.-]*}", site.page),
        ]
    )
    return app


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers["Server"] = "yolov8-server"
    response.headers.setdefault("Cache-Control", "no-cache")


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer errors as Triton does: JSON with the key ``error``."""
    try:
        return await handler(request)
    except RefusedError as exc:
        return _error(exc.status, exc.message)
    except web.HTTPException as exc:
        allowed = {"Allow": exc.headers["Allow"]} if "Allow" in exc.headers else {}
        message = f"{request.method} {request.path[:200]} is closed: the playground does not need it"
        return _error(HTTPStatus(exc.status), message, allowed)
    except Exception:
        logger.exception("the playground failed to answer %s %s", request.method, request.path[:200])
        return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "the playground failed; the server's terminal says why")


def _error(status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": message}, status=status, headers=headers)


def _guard(door: Door) -> Middleware:
    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in only what comes from the door's own page, or from no page."""
        host = request.headers.get("Host")
        requests.check_host(host, name=door.host)
        # A link on another site may open the page; nothing but the page itself may use the rest.
        if request.path.startswith(_OWN_PAGE_ALONE):
            requests.check_origin(host, request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site"))
        return await handler(request)

    return guard


def _session(connections: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S),
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
    )


class _Site:
    """The handlers of one door."""

    def __init__(self, door: Door, triton: str, headers: Mapping[str, str]) -> None:
        self._address = triton
        self._headers = headers
        self._cameras = door.cameras
        self._files = page_files()
        self._pictures = pictures(door.samples)
        self._in_flight = 0
        self._streams = 0

    async def connected(self, _app: web.Application) -> AsyncIterator[None]:
        """Keep the connections to Triton and to the cameras while the application runs."""
        async with _session(2 * MAX_IN_FLIGHT) as self._triton, _session(MAX_CAMERA_STREAMS) as self._hub:
            yield

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Answer with a file of the page."""
        file = self._files.get(request.match_info["name"])
        if file is None:
            raise web.HTTPNotFound
        headers = {"Content-Type": file.media_type, "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=file.compressed, headers={**headers, "Content-Encoding": "gzip"})
        return web.Response(body=file.content, headers=headers)

    async def sample_names(self, _request: web.Request) -> web.StreamResponse:
        """Answer with the names of the sample pictures."""
        return web.json_response(list(self._pictures)[:MAX_PICTURES])

    async def sample(self, request: web.Request) -> web.StreamResponse:
        """Answer with a sample picture."""
        path = self._pictures.get(request.match_info["name"])
        if path is None or not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path, headers={"Content-Type": PICTURES[path.suffix.lower()]})

    async def read(self, request: web.Request) -> web.StreamResponse:
        """Pass a read-only request on to Triton."""
        return await self._ask("GET", request.path, {}, b"")

    async def index(self, request: web.Request) -> web.StreamResponse:
        """Answer with the names of the models; the body of the request is not passed on."""
        if int(request.headers.get("Content-Length", "0") or 0) > requests.MAX_JSON_BYTES:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "invalid request: expected no body")
        return await self._ask("POST", request.path, {}, b"")

    async def infer(self, request: web.Request) -> web.StreamResponse:
        """Check a request for inference and pass it on to Triton, written anew."""
        length = requests.check_length({name.lower(): value for name, value in request.headers.items()})
        if self._in_flight >= MAX_IN_FLIGHT:
            raise RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE, f"Exceeds maximum queue size: {MAX_IN_FLIGHT} requests are in flight"
            )
        self._in_flight += 1
        # Triton must not see that a caller hangs up, so the call goes on without the handler.
        call = asyncio.ensure_future(self._infer(request, length))
        call.add_done_callback(self._done)
        return await asyncio.shield(call)

    def _done(self, call: asyncio.Future[web.StreamResponse]) -> None:
        self._in_flight -= 1
        if not call.cancelled():
            call.exception()  # the caller may be gone; asyncio logs errors that nobody reads

    async def _infer(self, request: web.Request, length: int) -> web.StreamResponse:
        try:
            body = await asyncio.wait_for(request.read(), BODY_TIMEOUT_S)
        except asyncio.TimeoutError as exc:  # the builtin one from Python 3.11 on
            raise RefusedError(
                HTTPStatus.REQUEST_TIMEOUT, f"the request did not arrive within {BODY_TIMEOUT_S:g} s"
            ) from exc
        image = memoryview(body)[length:]
        head = requests.rewritten(body[:length], len(image))
        headers = {LENGTH: str(len(head)), "Content-Type": "application/octet-stream"}
        return await self._ask("POST", request.path, headers, head + image)

    async def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> web.StreamResponse:
        url = f"http://{self._address}{quote(path)}"
        try:
            return await asyncio.wait_for(self._answer(method, url, headers, body), ANSWER_TIMEOUT_S)
        except asyncio.TimeoutError as exc:
            raise RefusedError(
                HTTPStatus.GATEWAY_TIMEOUT, f"Triton did not answer within {ANSWER_TIMEOUT_S:g} s"
            ) from exc
        except (aiohttp.ClientError, OSError) as exc:
            raise RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE, "Triton does not answer: it may be starting again; try in some seconds"
            ) from exc

    async def _answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> web.Response:
        sent = {**headers, **self._headers}
        try:
            return await self._once(method, url, sent, body)
        except aiohttp.ServerDisconnectedError:  # Triton closed an idle connection, or started again
            return await self._once(method, url, sent, body)

    async def _once(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> web.Response:
        async with self._triton.request(method, url, headers=headers, data=body or None) as answer:
            kept = {name: answer.headers[name] for name in _ANSWER_HEADERS if name in answer.headers}
            return web.Response(
                status=answer.status, body=await answer.read(), headers={"Cache-Control": "no-store", **kept}
            )

    async def camera(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on to the camera hub, and its answer back as it comes."""
        if self._cameras is None:
            raise RefusedError(
                HTTPStatus.NOT_FOUND, "this server shows no cameras: start it with --playground-cameras ADDRESS"
            )
        if ".." in request.path:  # it would lead to another part of the hub
            raise web.HTTPNotFound
        if self._streams >= MAX_CAMERA_STREAMS:
            raise RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_CAMERA_STREAMS} streams of cameras are open; close a page"
            )
        self._streams += 1
        try:
            return await self._stream(request, f"{self._cameras.rstrip('/')}{request.rel_url.raw_path_qs}")
        except (aiohttp.ClientError, OSError) as exc:
            raise RefusedError(HTTPStatus.BAD_GATEWAY, "the camera hub does not answer: is it running?") from exc
        finally:
            self._streams -= 1

    async def _stream(self, request: web.Request, url: str) -> web.StreamResponse:
        async with self._hub.get(url, allow_redirects=False) as answer:
            kept = {name: answer.headers[name] for name in _ANSWER_HEADERS if name in answer.headers}
            response = web.StreamResponse(status=answer.status, headers={"Cache-Control": "no-store", **kept})
            await response.prepare(request)
            # Once the answer has begun, an error can only end it.
            with suppress(aiohttp.ClientError, ConnectionError):
                async for piece in answer.content.iter_any():
                    await response.write(piece)
                await response.write_eof()
            return response
