# SPDX-License-Identifier: Apache-2.0
"""Requests that must not reach Triton are refused, and the others are written anew."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

import pytest

from yolov8_server._door import requests
from yolov8_server._door.requests import RefusedError

SIZE = 1000


def document(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "image", "datatype": "UINT8", "shape": [1, SIZE], "parameters": {"binary_data_size": SIZE}}
    return {"inputs": [tensor], **changes}


def with_input(**changes: Any) -> dict[str, Any]:
    return {"inputs": [{**document()["inputs"][0], **changes}]}


def rewritten(given: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(requests.rewritten(json.dumps(given).encode(), SIZE))
    return found


def test_a_request_passes_with_its_parameters_and_outputs() -> None:
    given = document(
        id="a-1",
        parameters={"conf": 0.4, "max_det": 5, "classes": "0,2", "agnostic": True, "binary_data_output": True},
        outputs=[{"name": "detection_boxes", "parameters": {"binary_data": False}}],
    )

    assert rewritten(given) == given


def test_what_only_one_json_parser_understands_is_written_anew() -> None:
    head = b'{"inputs" :[' + json.dumps(document()["inputs"][0]).encode() + b'],"parameters":{"conf":1,"conf":0.5}}'

    assert requests.rewritten(head, SIZE) == json.dumps(document(parameters={"conf": 0.5})).encode()


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"[" * 9999, id="deep"),
        pytest.param(b'{"inputs":' * 900, id="deep-objects"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe", id="not-text"),
        pytest.param(b"[]", id="a-list"),
        pytest.param(b"null", id="null"),
        pytest.param(b"9" * 9000, id="a-long-number"),
    ],
)
def test_what_is_no_json_object_is_refused(head: bytes) -> None:
    with pytest.raises(RefusedError, match="invalid request: ") as caught:
        requests.rewritten(head, SIZE)

    assert caught.value.status == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({}, id="none"),
        pytest.param({"inputs": []}, id="empty"),
        pytest.param({"inputs": document()["inputs"] * 2}, id="two"),
        pytest.param({"inputs": {"image": 1}}, id="an-object"),
        pytest.param(with_input(name="images"), id="name"),
        pytest.param(with_input(datatype="FP32"), id="datatype"),
        pytest.param(with_input(datatype=["UINT8"]), id="datatype-list"),
        pytest.param(with_input(shape=[1, 2**62]), id="shape-of-2^62"),
        pytest.param(with_input(shape=[1, -1]), id="shape-negative"),
        pytest.param(with_input(shape=[True, SIZE]), id="shape-boolean"),
        pytest.param(with_input(shape=[1.0, SIZE]), id="shape-float"),
        pytest.param(with_input(shape=[SIZE]), id="shape-without-batch"),
        pytest.param(with_input(data=[1]), id="data"),
        pytest.param(with_input(parameters={"binary_data_size": SIZE + 1}), id="size"),
        pytest.param(with_input(parameters={"shared_memory_region": "r"}), id="shared-memory"),
        pytest.param(with_input(parameters={"binary_data_size": SIZE, "shared_memory_offset": 0}), id="more"),
        pytest.param(document(model="x"), id="unknown-key"),
        pytest.param(document(id="\u0000"), id="id"),
        pytest.param(document(id=7), id="id-number"),
        pytest.param(document(parameters=[]), id="parameters-list"),
        pytest.param(document(parameters={"conf": None}), id="null"),
        pytest.param(document(parameters={"conf": float("nan")}), id="nan"),
        pytest.param(document(parameters={"conf": float("inf")}), id="infinity"),
        pytest.param(document(parameters={"max_det": 2**63}), id="large"),
        pytest.param(document(parameters={"classes": [0]}), id="list"),
        pytest.param(document(parameters={"classes": "\ud800"}), id="half-surrogate"),
        pytest.param(document(parameters={"classes": "1" * 5000}), id="long-text"),
        pytest.param(document(parameters={"a b": 1}), id="name-of-a-parameter"),
        pytest.param(document(parameters={"sequence_id": 1}), id="sequence"),
        pytest.param(document(parameters={"binary_data_output": 1}), id="binary-output"),
        pytest.param(document(parameters={f"p{number}": 1 for number in range(33)}), id="many-parameters"),
        pytest.param(document(outputs={}), id="outputs-object"),
        pytest.param(document(outputs=[1]), id="output-number"),
        pytest.param(document(outputs=[{"name": "x"}] * 17), id="many-outputs"),
        pytest.param(document(outputs=[{"name": "x", "parameters": {"classification": 9}}]), id="output-parameter"),
        pytest.param(document(outputs=[{"name": "x", "parameters": {"binary_data": 1}}]), id="output-binary"),
        pytest.param(document(outputs=[{}]), id="output-without-a-name"),
    ],
)
def test_anything_but_one_image_with_plain_parameters_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match="invalid request: ") as caught:
        rewritten(given)

    assert caught.value.status == HTTPStatus.BAD_REQUEST
    assert len(caught.value.message) < 300


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 411, id="no-length"),
        pytest.param({"content-length": "-1"}, 411, id="negative"),
        pytest.param({"content-length": "9", "transfer-encoding": "chunked"}, 411, id="chunks"),
        pytest.param({"content-length": "9", "content-encoding": "gzip"}, 415, id="compressed"),
        pytest.param({"content-length": str(2**26)}, 413, id="large"),
        pytest.param({"content-length": "9"}, 400, id="not-binary"),
        pytest.param({"content-length": "9", "inference-header-content-length": "0"}, 400, id="no-json"),
        pytest.param({"content-length": "9", "inference-header-content-length": "10"}, 400, id="beyond-the-body"),
        pytest.param({"content-length": "99999", "inference-header-content-length": "10000"}, 400, id="long-json"),
        pytest.param({"content-length": "9", "inference-header-content-length": "5\n"}, 400, id="line-feed"),
        pytest.param({"content-length": "9", "inference-header-content-length": "+5"}, 400, id="sign"),
    ],
)
def test_a_body_is_refused_by_its_headers(headers: dict[str, str], status: int) -> None:
    with pytest.raises(RefusedError) as caught:
        requests.check_length(headers)

    assert caught.value.status == status


def test_the_length_of_the_json_is_returned() -> None:
    assert requests.check_length({"content-length": "900", "inference-header-content-length": "123"}) == 123


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8010", "localhost:9000", "[::1]:8010", "192.168.0.7", "my-box:8010", "MY-BOX"]
)
def test_addresses_and_the_own_name_are_this_server(host: str) -> None:
    requests.check_host(host, name="my-box")


@pytest.mark.parametrize(
    "host", [None, "", "evil.example", "evil.example:8010", "127.0.0.1.evil.example", "[::1", "a@b:x"]
)
def test_a_foreign_name_that_leads_here_is_refused(host: str | None) -> None:
    with pytest.raises(RefusedError, match="is not this server") as caught:
        requests.check_host(host, name="my-box")

    assert caught.value.status == HTTPStatus.MISDIRECTED_REQUEST


@pytest.mark.parametrize(
    ("origin", "site"),
    [
        (None, None),
        (None, "same-origin"),
        (None, "none"),
        ("http://127.0.0.1:8010", "same-origin"),
        ("https://127.0.0.1:8010", None),
    ],
)
def test_the_own_page_and_programs_may_call(origin: str | None, site: str | None) -> None:
    requests.check_origin("127.0.0.1:8010", origin, site)


@pytest.mark.parametrize(
    ("origin", "site"),
    [
        ("https://evil.example", None),
        ("null", None),
        ("http://127.0.0.1:9999", None),
        ("http://[", None),
        (None, "cross-site"),
        (None, "same-site"),
        ("http://127.0.0.1:8010", "cross-site"),
    ],
)
def test_a_page_of_another_site_may_not_call(origin: str | None, site: str | None) -> None:
    with pytest.raises(RefusedError, match="only the playground's own page") as caught:
        requests.check_origin("127.0.0.1:8010", origin, site)

    assert caught.value.status == HTTPStatus.FORBIDDEN
