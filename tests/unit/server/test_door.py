# SPDX-License-Identifier: Apache-2.0
"""The door serves the page, and forwards to Triton and to a camera hub only what the page needs."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from yolov8_server import InvalidArgumentError, PortInUseError
from yolov8_server._door import application as doors
from yolov8_server._door.door import Door
from yolov8_server._door.page import FOLDER, HEADERS, page_files
from yolov8_server._door.serve import open_door

KEY = {"closed": "secret-key"}
PAGE_LIMIT = 60 * 1024
IMAGE = b"\xff\xd8 an image"
Client = TestClient[web.Request, web.Application]


def body(**parameters: Any) -> tuple[dict[str, str], bytes]:
    size = len(IMAGE)
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, size], "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [tensor], "parameters": parameters}).encode()
    return {doors.LENGTH: str(len(head))}, head + IMAGE


class FakeTriton:
    """A server that records what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append((request.method, request.path, headers, await request.read()))
        await self.gate.wait()
        if "missing" in request.path:
            return web.json_response({"error": "Request for unknown model: 'missing' is not found"}, status=404)
        return web.Response(body=b"{}tensors", headers={doors.LENGTH: "2", "Content-Type": "application/octet-stream"})

    async def camera(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Secret": "1"})
        await response.prepare(request)
        await response.write(f"data: {request.path_qs}\n\n".encode())
        await self.gate.wait()
        await response.write(b"data: end\n\n")
        return response


@asynccontextmanager
async def opened(triton: FakeTriton, **settings: Any) -> AsyncIterator[Client]:
    """Run a door in front of a fake Triton that is a camera hub, too."""
    app = web.Application(client_max_size=2**30)
    app.router.add_get("/cameras{rest:.*}", triton.camera)
    app.router.add_route("*", "/{rest:.*}", triton.answer)
    async with TestServer(app) as server:
        if settings.pop("cameras", False):
            settings["cameras"] = f"http://127.0.0.1:{server.port}"
        door = doors.application(Door(**settings), triton=f"127.0.0.1:{server.port}", headers=KEY)
        async with TestClient(TestServer(door)) as client:
            yield client


def run(case: Callable[[Client, FakeTriton], Awaitable[None]], **settings: Any) -> None:
    async def whole() -> None:
        triton = FakeTriton()
        async with opened(triton, **settings) as client:
            await asyncio.wait_for(case(client, triton), 20)

    asyncio.run(whole())


def test_every_answer_has_the_strict_headers() -> None:
    async def case(client: Client, _: FakeTriton) -> None:
        for path in ("/", "/app.js", "/nothing.js", "/v2", "/cameras"):
            answer = await client.get(path)
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS, path
        assert "default-src 'none'" in HEADERS["Content-Security-Policy"]
        assert "unsafe" not in HEADERS["Content-Security-Policy"]

    run(case)


def test_the_page_weighs_less_than_60_kilobytes_as_served() -> None:
    async def case(client: Client, _: FakeTriton) -> None:
        total = 0
        for name in page_files():
            answer = await client.get(f"/{name}", headers={"Accept-Encoding": "gzip"}, auto_decompress=False)
            assert answer.status == 200
            total += len(await answer.read())
        assert 0 < total < PAGE_LIMIT

    run(case)


def test_a_file_of_the_page_is_served_with_and_without_compression() -> None:
    async def case(client: Client, _: FakeTriton) -> None:
        plain = await client.get("/app.js", headers={"Accept-Encoding": "identity"})
        packed = await client.get("/app.js", headers={"Accept-Encoding": "gzip"}, auto_decompress=False)
        assert plain.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert await plain.read() == gzip.decompress(await packed.read()) == (FOLDER / "app.js").read_bytes()

    run(case)


def test_the_page_loads_nothing_from_elsewhere_and_has_no_inline_code() -> None:
    page = (FOLDER / "index.html").read_text()

    assert "//" not in page
    assert "<style" not in page
    assert " style=" not in page
    assert not re.search(r"\son\w+=", page)


@pytest.mark.parametrize(
    "path",
    ["/v2", "/v2/health/ready", "/v2/models/m", "/v2/models/m/config", "/v2/models/m/ready", "/v2/models/m/stats"],
)
def test_what_the_page_reads_is_passed_on_with_the_key(path: str) -> None:
    async def case(client: Client, triton: FakeTriton) -> None:
        answer = await client.get(path, headers={"X-Mine": "1", "closed": "guess"})
        assert await answer.read() == b"{}tensors"
        ((method, asked, headers, _),) = triton.asked
        assert (method, asked, headers["closed"]) == ("GET", path, "secret-key")
        assert "x-mine" not in headers
        assert "secret-key" not in str(answer.headers)

    run(case)


def test_an_image_reaches_triton_as_the_door_writes_it() -> None:
    async def case(client: Client, triton: FakeTriton) -> None:
        headers, content = body(conf=0.4)
        answer = await client.post("/v2/models/m/infer", headers=headers, data=content)
        assert (answer.status, answer.headers[doors.LENGTH], await answer.read()) == (200, "2", b"{}tensors")
        ((_, path, sent, received),) = triton.asked
        assert path == "/v2/models/m/infer"
        length = int(sent[doors.LENGTH.lower()])
        assert json.loads(received[:length])["parameters"] == {"conf": 0.4}
        assert received[length:] == IMAGE

    run(case)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/repository/models/m/load"),
        ("POST", "/v2/repository/models/m/unload"),
        ("GET", "/v2/repository/index"),
        ("GET", "/v2/systemsharedmemory/status"),
        ("POST", "/v2/systemsharedmemory/region/r/register"),
        ("POST", "/v2/cudasharedmemory/region/r/register"),
        ("GET", "/v2/trace/setting"),
        ("POST", "/v2/logging"),
        ("GET", "/metrics"),
        ("POST", "/v2/models/m/generate"),
        ("POST", "/v2/models/m/generate_stream"),
        ("GET", "/v2/models/m/infer"),
        ("PUT", "/v2/models/m/infer"),
        ("POST", "/v2/models/m/config"),
        ("POST", "/v2/models/a%2fb/infer"),
        ("POST", "/v2/models/%2e%2e/%2e%2e/infer"),
        ("GET", "/v2/models/m%0d%0aX:1/config"),
        ("GET", "/../_cli.py"),
        ("GET", "/..%2f_cli.py"),
        ("GET", "/samples/..%2fsecret.png"),
        ("POST", "/cameras/all"),
        ("GET", "/cameras/../metrics"),
        ("GET", "/cameras/%2e%2e/metrics"),
        ("GET", "/cameras/..%2fmetrics"),
        ("OPTIONS", "/v2/models/m/infer"),
        ("HEAD", "/v2"),
    ],
)
def test_everything_else_is_closed_and_triton_never_sees_it(method: str, path: str) -> None:
    async def case(client: Client, triton: FakeTriton) -> None:
        headers, content = body()
        url = URL(str(client.make_url("/"))[:-1] + path, encoded=True)
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=headers, data=content if method == "POST" else None) as answer,
        ):
            assert answer.status in (400, 404, 405, 411)
            if method != "HEAD":
                assert (await answer.json())["error"]
        assert triton.asked == []

    run(case, cameras=True)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({"Host": "evil.example"}, 421, id="rebound-name"),
        pytest.param({"Origin": "https://evil.example"}, 403, id="foreign-page"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, 403, id="foreign-fetch"),
    ],
)
@pytest.mark.parametrize("path", ["/v2/models/m/infer", "/v2/repository/index"])
def test_another_sites_page_can_not_use_the_door(path: str, headers: dict[str, str], status: int) -> None:
    async def case(client: Client, triton: FakeTriton) -> None:
        length, content = body()
        answer = await client.post(path, headers={**length, **headers}, data=content)
        assert answer.status == status
        assert triton.asked == []

    run(case)


def test_a_link_on_another_site_may_open_the_page_but_not_the_rest() -> None:
    async def case(client: Client, triton: FakeTriton) -> None:
        link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
        assert (await client.get("/", headers=link)).status == 200
        assert (await client.get("/samples/", headers=link)).status == 403
        assert (await client.get("/cameras", headers=link)).status == 403
        assert (await client.get("/v2", headers=link)).status == 403
        assert triton.asked == []

    run(case)


def test_tritons_errors_are_passed_on_and_a_triton_that_is_gone_is_told_as_such() -> None:
    async def case(client: Client, _: FakeTriton) -> None:
        answer = await client.get("/v2/models/missing/config")
        assert (answer.status, (await answer.json())["error"]) == (
            404,
            "Request for unknown model: 'missing' is not found",
        )

    run(case)

    async def gone() -> None:
        app = doors.application(Door(), triton="127.0.0.1:9", headers=KEY)
        async with TestClient(TestServer(app)) as client:
            headers, content = body()
            answer = await client.post("/v2/models/m/infer", headers=headers, data=content)
            assert (answer.status, "starting again" in (await answer.json())["error"]) == (503, True)

    asyncio.run(gone())


def test_requests_beyond_the_limit_are_refused_and_those_in_flight_are_answered() -> None:
    async def case(client: Client, triton: FakeTriton) -> None:
        triton.gate.clear()
        headers, content = body()
        calls = [
            asyncio.ensure_future(client.post("/v2/models/m/infer", headers=headers, data=content))
            for _ in range(doors.MAX_IN_FLIGHT)
        ]
        while len(triton.asked) < doors.MAX_IN_FLIGHT:
            await asyncio.sleep(0.01)
        refused = await client.post("/v2/models/m/infer", headers=headers, data=content)
        triton.gate.set()
        answers = await asyncio.gather(*calls)
        assert (refused.status, {answer.status for answer in answers}) == (503, {200})
        assert "Exceeds maximum queue size" in (await refused.json())["error"]
        assert (await client.post("/v2/models/m/infer", headers=headers, data=content)).status == 200

    run(case)


def test_triton_does_not_see_that_a_caller_hangs_up() -> None:
    async def case(client: Client, triton: FakeTriton) -> None:
        triton.gate.clear()
        headers, content = body()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.post("/v2/models/m/infer", headers=headers, data=content), 0.2)
        triton.gate.set()
        while True:  # the call ends by itself, and frees its place
            answers = [await client.post("/v2/models/m/infer", headers=headers, data=content) for _ in range(3)]
            if {answer.status for answer in answers} == {200}:
                break
        assert len(triton.asked) >= 4

    run(case)


def test_a_body_that_does_not_arrive_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "BODY_TIMEOUT_S", 0.1)

    async def case(client: Client, triton: FakeTriton) -> None:
        headers, content = body()
        reader, writer = await asyncio.open_connection(client.host, client.port)
        lines = [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join(
            ["POST /v2/models/m/infer HTTP/1.1", "Host: localhost", *lines, "Content-Length: 500", "", ""]
        )
        writer.write(head.encode() + content)
        assert b" 408 " in await reader.readline()
        writer.close()
        assert triton.asked == []

    run(case)


def test_the_sample_pictures_of_a_folder_are_served_and_nothing_else_of_it(tmp_path: Path) -> None:
    for name in ("bus.jpg", "b.PNG", "notes.txt", ".hidden.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "link.jpg").symlink_to("/etc/hostname")

    async def case(client: Client, _: FakeTriton) -> None:
        assert await (await client.get("/samples/")).json() == ["b.PNG", "bus.jpg"]
        answer = await client.get("/samples/bus.jpg")
        assert (answer.headers["Content-Type"], await answer.read()) == ("image/jpeg", b"bus.jpg")
        for name in ("notes.txt", ".hidden.jpg", "link.jpg", "other.jpg"):
            assert (await client.get(f"/samples/{name}")).status == 404

    run(case, samples=tmp_path)


def test_cameras_are_streamed_as_their_events_come() -> None:
    async def case(client: Client, triton: FakeTriton) -> None:
        triton.gate.clear()
        answer = await client.get("/cameras/events?since=4")
        assert await answer.content.readuntil(b"\n\n") == b"data: /cameras/events?since=4\n\n"  # before the end is sent
        assert answer.headers["Content-Type"] == "text/event-stream"
        assert "X-Secret" not in answer.headers
        triton.gate.set()
        assert await answer.content.read() == b"data: end\n\n"

    run(case, cameras=True)


def test_without_a_hub_there_are_no_cameras() -> None:
    async def case(client: Client, _: FakeTriton) -> None:
        answer = await client.get("/cameras/events")
        assert (answer.status, "--playground-cameras" in (await answer.json())["error"]) == (404, True)

    run(case)


def test_the_door_runs_beside_the_launcher_and_frees_its_port() -> None:
    door = Door()
    listener = door.listen()
    port = listener.getsockname()[1]

    async def title(url: str) -> str:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return await answer.text()

    with open_door(door, listener, triton="127.0.0.1:9", headers=KEY) as url:
        assert url == f"http://127.0.0.1:{port}/"
        assert "<title>YOLOv8 playground</title>" in asyncio.run(title(url))
        with pytest.raises(PortInUseError, match=f"the playground port {port} on 127.0.0.1 is in use"):
            Door(port=port).listen()

    Door(port=port).listen().close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"samples": Path("/nowhere")}, "--playground-samples /nowhere: expected a folder", id="samples"),
        pytest.param({"cameras": "127.0.0.1:9100"}, "--playground-cameras .*: expected an address such", id="cameras"),
        pytest.param({"cameras": "http://[::1"}, "--playground-cameras .*: expected an address such", id="malformed"),
        pytest.param({"host": "192.0.2.1"}, "can't listen on 192.0.2.1", id="host"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        Door(**settings).listen()
