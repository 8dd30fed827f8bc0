# SPDX-License-Identifier: Apache-2.0
"""Servers over HTTP that drip, never end, or answer nonsense: calls end in time, with an error of the client."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.utils import InferenceServerException

import yolov8_triton as yt
from tests.fakes import fake_http
from tests.unit.client.conftest import QUICK
from tests.unit.client.transport.conftest import Ask, config
from yolov8_triton import Client, RetryPolicy, _protocol
from yolov8_triton._errors import translated
from yolov8_triton._transport import http
from yolov8_triton._transport.requests import GetConfig, Infer


def infer_answer(outputs: list[dict[str, Any]], binary: bytes = b"", **header: str) -> Any:
    head = json.dumps({"outputs": outputs}).encode()
    headers = {http.LENGTH: str(len(head)), **header}
    return http.answer(Infer("yolov8n", b"an image", {}), 200, headers, head + binary)


COUNT = {"name": "n", "datatype": "INT32", "shape": [1, 1], "parameters": {"binary_data_size": 4}}


def test_outputs_of_the_right_form_are_read() -> None:
    assert infer_answer([COUNT], b"\1\0\0\0") == {"n": ("INT32", (1, 1), b"\1\0\0\0")}


@pytest.mark.parametrize(
    ("outputs", "binary", "header"),
    [
        pytest.param([COUNT, COUNT], bytes(8), {}, id="twice"),
        pytest.param([COUNT], bytes(3), {}, id="too-short"),
        pytest.param([COUNT], bytes(5), {}, id="too-long"),
        *(
            pytest.param([{**COUNT, "shape": shape}], bytes(4), {}, id=f"shape-{shape}")
            for shape in ([1, -1], [1.0, 1], ["1", 1], [True, 1], [1, None], 7, None, [2**63], [[1]])
        ),
        *(
            pytest.param([{**COUNT, "parameters": {"binary_data_size": size}}], bytes(4), {}, id=f"size-{size}")
            for size in (-4, 4.0, "4", None, True, 2**70)
        ),
        *(pytest.param([{**COUNT, "parameters": value}], bytes(4), {}, id=f"p-{value}") for value in (None, [], "")),
        *(pytest.param([{**COUNT, "name": value}], bytes(4), {}, id=f"name-{value}") for value in (None, 7, [])),
        *(pytest.param([{**COUNT, "datatype": value}], bytes(4), {}, id=f"type-{value}") for value in (None, 7, {})),
        *(pytest.param([value], b"", {}, id=f"output-{value}") for value in (None, 7, "text", [])),
        *(pytest.param(value, b"", {}, id=f"outputs-{value}") for value in (None, 7, "text")),
        *(
            pytest.param([COUNT], bytes(4), {http.LENGTH: value}, id=f"length-{value}")
            for value in ("-1", "1", "9999", "text", "", "9" * 5000)
        ),
    ],
)
def test_outputs_of_another_form_are_not_triton_s(outputs: Any, binary: bytes, header: dict[str, str]) -> None:
    with pytest.raises(InferenceServerException, match="not an answer of Triton") as caught:
        infer_answer(outputs, binary, **header)

    assert caught.value.status() == "StatusCode.UNIMPLEMENTED"  # which becomes a ContractMismatchError
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "content",
    [b"[" * 200_000, b"{", b"", b"\xff", b"[]", b"7"],
    ids=["deep", "cut", "empty", "binary", "list", "number"],
)
def test_answers_that_are_no_document_are_not_triton_s(content: bytes) -> None:
    with pytest.raises(InferenceServerException, match="not an answer of Triton"):
        http.answer(Infer("yolov8n", b"an image", {}), 200, {}, content)


Send = Callable[[socket.socket], None]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n"


def pieces(first: bytes, again: bytes, pause_s: float) -> Send:
    def send(connection: socket.socket) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(again)
            time.sleep(pause_s)

    return send


@contextmanager
def hostile(send: Send) -> Iterator[str]:
    """Accept connections and send whatever ``send`` does, until the client hangs up."""

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            send(connection)

    def accept(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=serve, args=[connection], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, args=[listening], daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.slow
@pytest.mark.parametrize(
    "send",
    [
        pytest.param(pieces(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n", 0.1), id="headers"),
        pytest.param(pieces(b"HTTP/1.1 200 OK\r\nx: ", b"y", 0.1), id="one-header"),
        pytest.param(pieces(b"", b"H", 0.1), id="status-line"),
        pytest.param(pieces(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.1), id="provisional-answers"),
        pytest.param(pieces(HEAD, b" ", 0.1), id="body"),
        pytest.param(pieces(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n", 0.1), id="chunks"),
        pytest.param(pieces(b"HTTP/1.1 200 OK\r\n\r\n", b" ", 0.1), id="body-without-a-length"),
    ],
)
def test_a_server_that_drips_ends_at_the_deadline(ask: Ask, send: Send) -> None:
    with hostile(send) as url:
        begin = time.monotonic()
        with pytest.raises((yt.DeadlineExceededError, yt.ServerUnavailableError)):
            ask(url, timeout_s=0.6, retry=RetryPolicy(attempts=1))

        assert time.monotonic() - begin < 3


def test_a_second_call_over_a_connection_has_its_own_deadline() -> None:
    answered = threading.Event()

    def answer(_: object) -> fake_http.Reply:
        if answered.is_set():
            time.sleep(0.4)
        answered.set()
        return config()

    with fake_http.serving(answer) as url, Client(f"http://{url}", retry=QUICK) as client:
        client.info(timeout_s=5)
        time.sleep(0.3)
        assert not client.is_ready(timeout_s=0.2)
        assert client.is_ready(timeout_s=5)


def test_a_server_that_reads_slowly_ends_at_the_deadline() -> None:
    def read(connection: socket.socket) -> None:
        connection.recv(60_000)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(config()[1]), config()[1]))
        while connection.recv(1024):
            time.sleep(0.05)

    with hostile(read) as url, Client(url, retry=RetryPolicy(attempts=1)) as client:
        client.info()
        begin = time.monotonic()
        with pytest.raises(yt.DeadlineExceededError):
            client.detect(bytes(50_000_000), timeout_s=0.6)

    assert time.monotonic() - begin < 5


@pytest.mark.slow
@pytest.mark.parametrize("again", [b" " * 65536, b"1" * 65536], ids=["blanks", "digits"])
def test_a_body_without_an_end_is_not_kept(ask: Ask, again: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 10_000_000)

    error = pytest.raises(yt.ContractMismatchError, match="more than 10000000 bytes")
    with hostile(pieces(HEAD, again, 0)) as url, error:
        ask(url, timeout_s=60)


def test_nested_compression_is_refused(ask: Ask) -> None:
    send = pieces(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip, gzip, gzip\r\n\r\n", b"", 0.1)
    error = pytest.raises(yt.ContractMismatchError, match="encoding 'gzip, gzip, gzip'")
    with hostile(send) as url, error:
        ask(url)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
GOOD = json.loads(config()[1])
DEEP = "[" * 100_000


def with_parameter(name: str, text: Any) -> Any:
    return {**GOOD, "parameters": {**GOOD["parameters"], name: {"string_value": text}}}


def read_config(document: Any) -> None:
    """Read a configuration as the clients do: it is understood, or the error is one of the client's."""
    with suppress(yt.ContractMismatchError), translated("here", 1):
        content = document if isinstance(document, bytes) else json.dumps(document).encode()
        found = http.answer(GetConfig("yolov8n"), 200, {}, content)["config"]
        _protocol.served_models([found])
        _protocol.served_model(found)
        _protocol.check(found)


@pytest.mark.slow
@given(JSON)
def test_a_configuration_of_any_form_is_read_or_refused(document: Any) -> None:
    read_config(document)
    read_config({**GOOD, "parameters": document})
    for key in ("max_batch_size", "platform", "name", "input", "output"):
        read_config({**GOOD, key: document})


@pytest.mark.slow
@given(JSON, st.sampled_from(sorted(GOOD["parameters"])))
def test_a_parameter_of_any_form_is_read_or_refused(document: Any, name: str) -> None:
    read_config(with_parameter(name, json.dumps(document)))
    read_config(with_parameter(name, document))
    read_config({**GOOD, "parameters": {**GOOD["parameters"], name: document}})


@pytest.mark.slow
@pytest.mark.parametrize(
    "document",
    [
        pytest.param(DEEP.encode(), id="deep"),
        pytest.param(with_parameter("task", DEEP), id="deep-task"),
        pytest.param(with_parameter("labels", DEEP), id="deep-labels"),
        pytest.param(with_parameter("labels", '"person"'), id="labels-are-a-text"),
        pytest.param(with_parameter("labels", "[1, [2], null]"), id="labels-are-no-texts"),
        pytest.param(with_parameter("imgsz", "[Infinity, 640]"), id="infinite-size"),
        pytest.param(with_parameter("imgsz", "[1e400, 640]"), id="overflow"),
        pytest.param(with_parameter("imgsz", "[640.5, 640]"), id="half-a-pixel"),
        pytest.param(with_parameter("imgsz", '{"640": 1, "641": 2}'), id="size-is-an-object"),
        pytest.param(with_parameter("task", '["detect"]'), id="task-is-a-list"),
        pytest.param(with_parameter("contract_version", "9" * 5000), id="long-number"),
        pytest.param({}, id="empty"),
        pytest.param([], id="list"),
        pytest.param({**GOOD, "parameters": []}, id="parameters-are-a-list"),
        pytest.param({**GOOD, "parameters": {"contract_version": "1"}}, id="parameter-is-a-text"),
    ],
)
def test_a_hostile_configuration_is_an_error_of_the_client(ask: Ask, document: Any) -> None:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()

    with fake_http.serving(lambda _: (200, content)) as url, pytest.raises(yt.ContractMismatchError) as caught:
        ask(f"http://{url}")

    assert len(str(caught.value)) < 800


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [b"{}", b"7", b"[7]", b"[[]]", b'["x"]', b'[{"state": "READY"}]', b'[{"name": 7, "state": "READY"}]',
     b'[{"name": [], "state": "READY"}]', DEEP.encode()],
    ids=["object", "number", "numbers", "lists", "texts", "no-name", "name-is-a-number", "name-is-a-list", "deep"],
)  # fmt: skip
def test_a_hostile_index_is_an_error_of_the_client(content: bytes) -> None:
    with (
        fake_http.serving(lambda _: (200, content)) as url,
        Client(f"http://{url}", retry=QUICK) as client,
        pytest.raises(yt.ContractMismatchError),
    ):
        client.models()


@pytest.mark.slow
@pytest.mark.parametrize("content", [DEEP.encode(), b'{"error": %s}' % DEEP.encode(), b"[]", b'{"error": [7]}'])
@pytest.mark.parametrize("status", [400, 404, 500, 503, 999])
def test_a_hostile_refusal_is_an_error_of_the_client(status: int, content: bytes) -> None:
    with (
        fake_http.serving(lambda _: (status, content)) as url,
        Client(f"http://{url}", retry=RetryPolicy(attempts=1)) as client,
        pytest.raises(yt.YoloTritonError),
    ):
        client.info()
