# SPDX-License-Identifier: Apache-2.0
"""What is not Triton's own over HTTP: proxies, other servers, dead ones. Its own is tested with the real server."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

import yolov8_triton as yt
from tests.fakes import fake_http
from tests.fakes.answers import model
from tests.fakes.certificates import Authority
from tests.unit.client.transport.conftest import Ask, config
from yolov8_contract.task import Task
from yolov8_triton import Tls


def error(text: str) -> bytes:
    return json.dumps({"error": text}).encode()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "content", "expected", "message"),
    [
        pytest.param(503, error("Exceeds maximum queue size"), yt.ServerOverloadedError, "fewer", id="overload"),
        pytest.param(503, b"<h1>no upstream</h1>", yt.ServerUnavailableError, "status 503: '<h1>no", id="proxy"),
        pytest.param(502, b"", yt.ServerUnavailableError, "status 502", id="bad-gateway"),
        pytest.param(504, b"", yt.DeadlineExceededError, "no answer within", id="proxy-s-deadline"),
        pytest.param(401, b"", yt.AccessRefusedError, "token=", id="proxy-wants-token"),
        pytest.param(403, error("This API is restricted"), yt.AccessRefusedError, "restricted", id="restricted"),
        pytest.param(404, error("unknown model: 'm' is not found"), yt.ModelNotFoundError, "lists", id="no-model"),
        pytest.param(404, b"no such page", yt.ContractMismatchError, "is not Triton", id="another-server"),
        pytest.param(200, b"<html>", yt.ContractMismatchError, "is not Triton", id="web-page"),
        pytest.param(400, error("invalid image: none"), yt.InvalidImageError, ": invalid image: none", id="image"),
        pytest.param(413, b"too large", yt.InvalidInputError, "too large", id="proxy-s-limit"),
        pytest.param(500, error("oh"), yt.YoloTritonError, "INTERNAL: oh", id="internal"),
        pytest.param(418, b"", yt.YoloTritonError, "status 418", id="anything-else"),
    ],
)
def test_each_answer_has_its_error(
    ask: Ask, status: int, content: bytes, expected: type[Exception], message: str
) -> None:
    with fake_http.serving(lambda _: (status, content)) as url, pytest.raises(yt.YoloTritonError) as caught:
        ask(f"http://{url}")

    assert type(caught.value) is expected
    assert message in str(caught.value)


def test_another_server_is_asked_where_one_is_dead(ask: Ask) -> None:
    with fake_http.serving(config) as url:
        assert ask(["http://127.0.0.1:1", f"http://{url}"]) == model(Task.DETECT)


def test_what_can_not_be_answered_is_asked_once(ask: Ask) -> None:
    asked = []

    def refuse(handler: BaseHTTPRequestHandler) -> fake_http.Reply:
        asked.append(handler.path)
        return 403, b""

    with fake_http.serving(refuse) as url, pytest.raises(yt.AccessRefusedError):
        ask(f"http://{url}")

    assert asked == ["/v2/models/yolov8n/config"]


def test_a_path_in_front_of_triton_s_is_kept_and_headers_go_along(ask: Ask) -> None:
    seen: list[tuple[str, str | None, str | None]] = []

    def answer(handler: BaseHTTPRequestHandler) -> fake_http.Reply:
        seen.append((handler.path, handler.headers["authorization"], handler.headers["infer-key"]))
        return config()

    with fake_http.serving(answer) as url:
        ask(f"http://{url}/vision/", token="abc", headers={"triton-grpc-protocol-infer-key": "s3cret"})

    assert seen == [("/vision/v2/models/yolov8n/config", "Bearer abc", "s3cret")]


def test_a_secure_address_is_asked_securely(ask: Ask, tmp_path: Path) -> None:
    ours, other = Authority(tmp_path / "ours"), Authority(tmp_path / "other")
    pair = ours.issue("127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.certificate, pair.key)

    with fake_http.serving(config, context) as url:
        assert ask(f"https://{url}", tls=Tls(ca=ours.ca)) == model(Task.DETECT)
        with pytest.raises(yt.TlsError, match=r"tls=Tls\(ca=FILE\)"):
            ask(f"https://{url}", tls=Tls(ca=other.ca))
        with pytest.raises(yt.TlsError, match="made out to"):
            ask(f"https://localhost:{url.rpartition(':')[2]}", tls=Tls(ca=ours.ca))


def test_a_secure_client_of_a_plain_port_is_told_not_to(ask: Ask) -> None:
    with fake_http.serving(config) as url, pytest.raises(yt.TlsError, match="leave tls= out"):
        ask(f"https://{url}")


def test_a_slow_answer_ends_at_the_deadline(ask: Ask) -> None:
    over = threading.Event()

    def wait(_: object) -> fake_http.Reply:
        over.wait(timeout=30)
        return config()

    with fake_http.serving(wait) as url:
        try:
            with pytest.raises(yt.DeadlineExceededError, match=r"no answer within 0\.3 s"):
                ask(f"http://{url}", timeout_s=0.3)
        finally:
            over.set()


@pytest.mark.slow
def test_an_answer_that_trickles_ends_at_the_deadline_too(ask: Ask) -> None:
    over = threading.Event()

    def trickle(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
            while not over.wait(0.05):
                connection.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=trickle, args=[listening])
        thread.start()
        begin = time.monotonic()
        try:
            with pytest.raises(yt.DeadlineExceededError):
                ask(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout_s=0.5)
        finally:
            over.set()
            thread.join(timeout=30)

    assert time.monotonic() - begin < 10
