# SPDX-License-Identifier: Apache-2.0
"""A client's life: connecting, knowing its model, being shared and being closed."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

from tests.fakes.answers import LABELS, model
from tests.fakes.fake_triton import FakeTriton, Refusal, ensemble_config
from tests.unit.client.conftest import Connect, Serve
from yolov8_contract.task import Task
from yolov8_triton import (
    AsyncClient,
    Client,
    ContractMismatchError,
    ServerDrainingError,
    ServerUnavailableError,
    WrongTaskError,
)
from yolov8_triton._transport.connection import addresses

NOBODY = "127.0.0.1:1"


def test_creating_a_client_asks_nobody() -> None:
    with Client(NOBODY, model="yolov8n") as client:
        assert repr(client) == "<Client: model 'yolov8n' at 127.0.0.1:1>"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"url": ""}, "empty", id="no-address"),
        pytest.param({"url": "http://"}, "empty", id="no-http-address"),
        pytest.param({"url": ["http://a:8000", "b:8001"]}, "addresses of one protocol", id="two-protocols"),
        pytest.param({"url": ["http://a:8000", "https://b"]}, "addresses of one protocol", id="half-secure"),
        pytest.param({"url": "http://a", "tls": True}, "expected an https:// address", id="tls-over-http"),
        pytest.param(
            {"url": "https://a", "tls": False},
            "tls=False contradicts the https:// address 'https://a'",
            id="https-without-tls",
        ),
        pytest.param(
            {"url": "http://a", "channel_args": [("a", 1)]}, "channel_args are for gRPC", id="channel-of-http"
        ),
        pytest.param(
            {"url": "http://a", "shared_memory": True}, "shared_memory needs gRPC", id="shared-memory-over-http"
        ),
        pytest.param({"compression": "zip"}, "expected 'gzip', 'deflate' or None, got 'zip'", id="compression"),
        pytest.param({"token": ""}, "token: expected printable ASCII", id="empty-token"),
        pytest.param({"token": 5}, "token: expected printable ASCII without blanks, got int", id="number-token"),
        *(
            pytest.param({"url": url}, f"got {words}", id=f"url-{url}")
            for url, words in (
                ("a:65536", "the port 65536"),
                ("127.0.0.1:99999", "the port 99999"),
                ("a:0", "the port 0"),
                ("a:-1", "the port -1"),
                ("http://a:99999/x", "the port 99999"),
                ("[::1]:70000", "the port 70000"),
                ("ftp://a:1", "the scheme 'ftp'"),
                ("grpcs://a:1", "the scheme 'grpcs'"),
                ("http://a:1/x?y", r"one with '\?'"),
                ("http://a:1#x", "one with '#'"),
                ("a b:1", "one with ' '"),
                ("grpc://", "an empty one"),
                (None, "a NoneType"),
                (5, "a int"),
                (b"a:1", "a bytes"),
                (["a:1", 5], "a int"),
            )
        ),
        *(
            pytest.param({"headers": headers}, f"headers: {words}", id=f"headers-{headers}")
            for headers, words in (
                ("a", "expected names and values, got str"),
                ([("a", "b")], "expected names and values, got list"),
                ({"A B": "x"}, "'A B' is not the name"),
                ({"": "x"}, "'' is not the name"),
                ({"ü": "x"}, "'ü' is not the name"),
                ({5: "x"}, "5 is not the name"),
                ({"a-bin": "x"}, "'a-bin' is not the name"),
                ({"Content-Length": "5"}, "'Content-Length' is not the name"),
                ({"a": 5}, "'a': expected printable ASCII, got int"),
                ({"a": "x\ny"}, "'a': expected printable ASCII, got str"),
                ({"a": "ü"}, "'a': expected printable ASCII, got str"),
            )
        ),
        pytest.param({"model": None}, "model: expected a name, got None", id="no-model"),
        pytest.param({"model": 5}, "model: expected a name, got 5", id="model-number"),
        pytest.param({"timeout_s": 0}, "above 0", id="no-time"),
        pytest.param({"timeout_s": -1.0}, "above 0", id="negative-time"),
        pytest.param({"timeout_s": float("nan")}, "above 0", id="no-number"),
    ],
)
def test_arguments_that_can_not_be_right_are_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Client(**arguments)


def test_an_unfit_token_is_not_quoted() -> None:
    with pytest.raises(ValueError, match="token: expected printable ASCII without blanks") as caught:
        Client(NOBODY, token="s3cret\n")

    assert "s3cret" not in str(caught.value)


def test_an_address_may_name_its_scheme(serve: Serve) -> None:
    fake = serve()

    with Client(f"grpc://{fake.url}/") as client:
        assert client.task is Task.DETECT


def test_the_model_is_described_by_the_server(serve: Serve, connect: Connect) -> None:
    client = connect(serve(Task.POSE))

    assert client.info() == model(Task.POSE)
    assert client.task is Task.POSE
    assert client.labels == LABELS


def test_threads_that_share_a_client_ask_for_the_model_once(serve: Serve, connect: Connect) -> None:
    fake = serve()
    client = connect(fake)

    with ThreadPoolExecutor(max_workers=8) as pool:
        found = list(pool.map(client.detect, [b"an image"] * 40))

    assert [len(one) for one in found] == [2] * 40
    assert fake.config_calls == 1


def test_a_model_that_could_not_be_asked_about_is_asked_again(serve: Serve, connect: Connect) -> None:
    fake = serve()
    client = connect(fake)
    fake.refusal = Refusal(grpc.StatusCode.UNAVAILABLE, "Socket closed")
    with pytest.raises(ServerUnavailableError):
        client.detect(b"an image")
    fake.refusal = None

    assert len(client.detect(b"an image")) == 2


@pytest.mark.parametrize("asked", [task for task in Task if task is not Task.SEGMENT], ids=lambda task: task.value)
def test_another_task_than_the_model_s_is_refused_with_the_one_it_serves(
    serve: Serve, connect: Connect, asked: Task
) -> None:
    fake = serve(Task.SEGMENT)
    verb = getattr(connect(fake), asked.value)

    with pytest.raises(WrongTaskError, match=rf"serves 'segment', not '{asked.value}': call segment\(\)"):
        verb(b"an image")

    assert not fake.requests


def test_a_closed_client_says_so(serve: Serve) -> None:
    client = Client(serve().url)
    client.detect(b"an image")
    client.close()
    client.close()

    with pytest.raises(RuntimeError, match="this client is closed: model 'yolov8n' at"):
        client.detect(b"an image")


def test_a_ready_model_is_ready(serve: Serve, connect: Connect) -> None:
    assert connect(serve()).is_ready()


def not_ready(fake: FakeTriton) -> None:
    fake.ready = False


def draining(fake: FakeTriton) -> None:
    fake.refusal = Refusal(grpc.StatusCode.UNAVAILABLE, "Server exiting")


def unknown(fake: FakeTriton) -> None:
    fake.configs.clear()


@pytest.mark.parametrize("state", [not_ready, draining, unknown])
def test_a_model_that_takes_no_requests_is_not_ready(
    serve: Serve, connect: Connect, state: Callable[[FakeTriton], None]
) -> None:
    fake = serve()
    state(fake)

    assert not connect(fake).is_ready()


def test_a_server_that_is_away_is_not_ready() -> None:
    with Client(NOBODY) as client:
        assert not client.is_ready()


def test_a_model_of_the_contract_passes_the_check(serve: Serve, connect: Connect) -> None:
    connect(serve()).check()


def test_a_model_that_is_not_ready_fails_the_check(serve: Serve, connect: Connect) -> None:
    fake = serve()
    fake.ready = False

    with pytest.raises(ServerDrainingError, match="the model is not ready"):
        connect(fake).check()


def renamed_output(config: Any) -> None:
    config.output[1].name = "boxes"


def other_dims(config: Any) -> None:
    config.output[1].dims[1] = 6


def no_batches(config: Any) -> None:
    config.max_batch_size = 0


def no_labels(config: Any) -> None:
    del config.parameters["labels"]


def newer_contract(config: Any) -> None:
    config.parameters["contract_version"].string_value = "2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed_output, "boxes TYPE_FP32 [-1, 4]"),
        (other_dims, "detection_boxes TYPE_FP32 [-1, 6]"),
        (no_batches, "max_batch_size: expected 1, got 0"),
        (no_labels, "parameter 'labels' is missing"),
        (newer_contract, "contract_version is 2, this code supports 1"),
    ],
)
def test_a_model_that_differs_from_the_contract_fails_the_check(
    serve: Serve, connect: Connect, change: Callable[[Any], None], message: str
) -> None:
    fake = serve()
    change(fake.configs["yolov8n"])

    with pytest.raises(ContractMismatchError) as caught:
        connect(fake).check()

    assert message in str(caught.value)


def test_the_models_of_a_server_are_its_ready_ensembles_of_the_contract(serve: Serve, connect: Connect) -> None:
    fake = serve()
    fake.configs["yolov8n-pose"] = ensemble_config("yolov8n-pose", model(Task.POSE))
    member = ensemble_config("yolov8n_postprocess", model(Task.DETECT))
    member.platform, member.backend = "", "python"
    stranger = ensemble_config("other", model(Task.DETECT))
    stranger.parameters.clear()
    fake.configs |= {"yolov8n_postprocess": member, "other": stranger}

    assert connect(fake).models() == {"yolov8n": model(Task.DETECT), "yolov8n-pose": model(Task.POSE)}


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_a_client_can_not_be_copied(kind: Any, take: Any) -> None:
    with pytest.raises(TypeError, match="which can't be copied or pickled: create a client in each process"):
        take(kind())


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("value", [0, -1, float("nan"), "5", None, True, b"1", [1]], ids=repr)
def test_a_time_that_is_none_is_refused(kind: Any, value: Any) -> None:
    with pytest.raises(ValueError, match="timeout_s: expected seconds above 0, got "):
        kind(timeout_s=value)


@pytest.mark.parametrize(
    "value", [float("inf"), 1e30, 10**400, np.float32(3)], ids=["inf", "1e30", "10**400", "float32"]
)
def test_a_time_without_an_end_is_a_long_one(serve: Serve, connect: Connect, value: Any) -> None:
    client = connect(serve(), timeout_s=value)

    assert len(client.detect(b"an image")) == 2
    assert len(client.detect(b"an image", timeout_s=value)) == 2


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("HTTP://Host:8000/", "http://Host:8000"),
        (" host:8001\n", "host:8001"),
        ("grpc://host:8001", "host:8001"),
        ("GRPC://host", "host"),
        ("dns:///host:8001", "dns:///host:8001"),
        ("unix:/tmp/a b", "unix:/tmp/a b"),
        ("ipv4:127.0.0.1:8001", "ipv4:127.0.0.1:8001"),
        ("https://host/a:b/c", "https://host/a:b/c"),
        ("[::1]:8001", "[::1]:8001"),
        ("http://me:pw@host:8000", "http://me:pw@host:8000"),
    ],
)
def test_addresses_of_each_kind_are_taken(url: str, address: str) -> None:
    assert addresses(url) == (address,)
